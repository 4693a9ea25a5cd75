import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import threadline, { options as serverOptions } from '../../../../app.ts'
import type { Agent } from '../../../../lib/agents/define-agent.ts'
import { within } from '../../within.ts'
import type { Role } from '../cluster.ts'
import { startProxy, type TcpProxy } from '../tcp-proxy.ts'
import type { FaultyNode } from './faulty-node.ts'
import { makeSignalsFaulty, type FaultySignals } from './faulty-signals.ts'
import type { SeededRandom } from './seeded-random.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

export interface LocalNodeOptions {
  readonly name: string
  readonly role: Role
  readonly databaseUrl: string
  readonly redisUrl: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly agent: Agent
  readonly random: SeededRandom
  /** What the node says of problems. */
  readonly note: (line: string) => void
}

/** One life of a node: an app of its own, with a network of its own. */
interface Life {
  readonly app: FastifyInstance
  readonly url: string
  readonly postgres: TcpProxy
  readonly redis: TcpProxy | undefined
  readonly signals: FaultySignals
  readonly sockets: ReadonlySet<Socket>
}

const closingMs = 30_000

/** A node within this process. It is cheap, and it can die many times in a minute. Closed with the test. */
export async function startLocalNode (t: Test, options: LocalNodeOptions): Promise<FaultyNode> {
  let life = await live(t, options)
  let running = true
  const close = async ({ app }: Life): Promise<void> => { await within(`${options.name} to close`, app.close(), closingMs) }
  t.teardown(async () => { await close(life) })

  return {
    name: options.name,
    get url () { return running && options.role !== 'worker' ? life.url : undefined },
    get postgres () { return life.postgres },
    get redis () { return life.redis },
    get signals () { return life.signals },
    async crash () {
      running = false
      const { app, postgres, redis, sockets } = life
      for (const network of [postgres, redis]) network?.refuse()
      for (const socket of sockets) socket.resetAndDestroy()
      app.server.close()
      // Nothing that it does reaches anybody any more. It is put away when it has found that out, beside what goes on.
      const gone = close(life).catch((error: unknown) => { options.note(`${options.name} was put away: ${String(error)}`) })
      t.teardown(async () => { await gone })
    },
    async drain () {
      await close(life)
      running = false
    },
    async start () {
      life = await live(t, options)
      running = true
    },
    freeze: undefined,
    thaw: undefined
  }
}

async function live (t: Test, { databaseUrl, redisUrl, env, role, agent, random, note, name }: LocalNodeOptions): Promise<Life> {
  const postgres = await startProxy(t, databaseUrl)
  const redis = redisUrl === undefined ? undefined : await startProxy(t, redisUrl)
  const stream = { write: (line: string) => { note(`${name}: ${line.slice(0, 600).trimEnd()}`) } }
  const app = Fastify({ ...serverOptions, logger: { ...serverOptions.logger, level: 'warn', stream }, pluginTimeout: 60_000 })
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => { sockets.delete(socket) })
  })
  const servers = { DATABASE_URL: postgres.url, ...(redis === undefined ? {} : { REDIS_URL: redis.url }) }
  await app.register(threadline, { agents: [agent], env: { ...env, ...servers, THREADLINE_ROLE: role } })
  const signals = makeSignalsFaulty(app.bus, random)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, url, postgres, redis, signals, sockets }
}
