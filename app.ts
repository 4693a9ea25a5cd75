import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Agent } from './lib/agents/define-agent.ts'
import type { LanguageModel } from './lib/models/model-registry.ts'
import { loggerOptions } from './lib/telemetry/logger-options.ts'
import agents from './plugins/agents.ts'
import authentication from './plugins/authentication.ts'
import bus from './plugins/bus.ts'
import canary from './plugins/canary.ts'
import config from './plugins/config.ts'
import contracts from './plugins/contracts.ts'
import engine from './plugins/engine.ts'
import errors, { answerUnroutable } from './plugins/errors.ts'
import eventLog from './plugins/event-log.ts'
import eventStreams from './plugins/event-streams.ts'
import gateway from './plugins/gateway.ts'
import greeting from './plugins/greeting.ts'
import isolation from './plugins/isolation.ts'
import metrics from './plugins/metrics.ts'
import models from './plugins/models.ts'
import node from './plugins/node.ts'
import redis from './plugins/redis.ts'
import requestId from './plugins/request-id.ts'
import shutdown from './plugins/shutdown.ts'
import signing from './plugins/signing.ts'
import storage from './plugins/storage.ts'
import telemetry from './plugins/telemetry.ts'
import upkeep from './plugins/upkeep.ts'
import titles from './plugins/titles.ts'
import agentRoutes from './routes/agents.ts'
import contractRoutes from './routes/contracts.ts'
import developmentTokenRoutes from './routes/development-tokens.ts'
import eventStreamRoutes from './routes/event-streams.ts'
import exportRoutes from './routes/export.ts'
import healthRoutes from './routes/health.ts'
import meRoutes from './routes/me.ts'
import messageRoutes from './routes/messages.ts'
import runRoutes from './routes/runs.ts'
import socketRoutes from './routes/socket.ts'
import threadRunRoutes from './routes/thread-runs.ts'
import threadRoutes from './routes/thread.ts'
import threadListRoutes from './routes/threads.ts'
import ticketRoutes from './routes/tickets.ts'

export interface AppOptions {
  /** Read instead of `process.env`. */
  readonly env?: Readonly<Record<string, string | number | undefined>>
  /** Further agents, beside those of the folder. */
  readonly agents?: readonly Agent[]
  /** Further models under names of their own. */
  readonly models?: Readonly<Record<string, LanguageModel>>
}

/**
 * For fastify-cli, which hands them to the Fastify constructor. A request has 30 s to arrive, and a keep-alive connection may be idle. While the
 * server closes, requests are refused by the plugin `shutdown`.
 */
export const options = { logger: loggerOptions, frameworkErrors: answerUnroutable, requestTimeout: 30_000, return503OnClosing: false }

/**
 * Threadline, as the plugin that `fastify start` loads. The order is the architecture, from the bottom up; shutdown runs through it
 * from the top down. It is not encapsulated: a socket plugin below the root would keep a refused upgrade open at shutdown.
 */
export default fp(async function threadline (app: FastifyInstance, options: AppOptions) {
  await app.register(config, options.env === undefined ? {} : { env: options.env })
  await app.register(node)
  await app.register(telemetry)
  await app.register(requestId)
  await app.register(errors)
  await app.register(shutdown)

  await app.register(storage)
  await app.register(signing)
  await app.register(redis)
  await app.register(bus)
  await app.register(authentication)
  await app.register(models, options.models === undefined ? {} : { models: options.models })
  await app.register(eventLog)
  await app.register(upkeep)
  await app.register(agents, options.agents === undefined ? {} : { agents: options.agents })
  await app.register(engine)
  await app.register(isolation)
  await app.register(gateway)
  await app.register(eventStreams)
  await app.register(titles)
  await app.register(metrics)
  await app.register(greeting)
  if (app.node.serves) await app.register(contracts)
  await app.register(canary)

  await app.register(healthRoutes)
  if (app.node.serves) await registerRoutes(app)
}, { name: 'threadline', fastify: '5.x' })

/** What a node offers to users and their clients. A worker has nothing of it. */
async function registerRoutes (app: FastifyInstance): Promise<void> {
  await app.register(contractRoutes)
  await app.register(developmentTokenRoutes)
  await app.register(meRoutes)
  await app.register(ticketRoutes)
  await app.register(agentRoutes)
  await app.register(threadListRoutes)
  await app.register(threadRoutes)
  await app.register(messageRoutes)
  await app.register(threadRunRoutes)
  await app.register(runRoutes)
  await app.register(exportRoutes)
  await app.register(socketRoutes)
  await app.register(eventStreamRoutes)
}
