import { join } from 'node:path'
import Fastify from 'fastify'
import { registerContextManager } from '../../lib/context/context-manager.ts'
import { startTelemetry } from '../../lib/telemetry/start-telemetry.ts'
import { serveMeasured } from '../support/measured-server.ts'

/**
 * The whole service, started as `npm start` does it without configuration: telemetry records spans for the check of inheritance and exports none, the database is
 * the embedded one, in memory. The agent answers with one piece of text.
 */

registerContextManager()
await startTelemetry()
const { default: threadline, options } = await import('../../app.ts')
const { defineAgent } = await import('../../lib/agents/define-agent.ts')
const { toUserId } = await import('../../lib/protocol/ids.ts')

const users = 32
const agent = defineAgent({ name: 'minimal', async * run ({ content }) { yield { type: 'text', text: content } } })

serveMeasured(async () => {
  const app = Fastify({ ...options, logger: { ...options.logger, level: 'error' }, pluginTimeout: 60_000 })
  await app.register(threadline, {
    agents: [agent],
    env: {
      DATA_DIR: 'memory',
      AGENTS_DIR: join(import.meta.dirname, '../../agents'),
      DEFAULT_AGENT: 'minimal',
      MESSAGES_PER_WINDOW: 1_000_000
    }
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const offers = await Promise.all(Array.from({ length: users }, async (_, index) => {
    const signed = await app.authentication.developmentTokens?.sign({ userId: toUserId(`user-${index}`), expiresInSeconds: 3600 })
    return ['threadline.v1', `bearer.${signed?.token}`]
  }))
  return { url: `${url.replace('http', 'ws')}/v1/socket`, offers }
})
