import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import { SignJWT } from 'jose'
import threadline, { options as serverOptions } from '../../app.ts'
import type { Agent } from '../../lib/agents/define-agent.ts'
import { violationChannel, type Violation } from '../../lib/context/guard.ts'

export interface SoakServer {
  readonly app: FastifyInstance
  /** `ws://127.0.0.1:<port>/v1/socket` */
  readonly socketUrl: string
  /** What the guard has refused. */
  readonly violations: readonly Violation[]
  /** Lines of the log from `warn` upwards, and warnings of Node itself. */
  readonly complaints: readonly string[]
  sign (user: string): Promise<string>
  close (): Promise<void>
}

const issuer = 'https://soak.example'
const audience = 'soak'

/** The whole service in this process, listening on loopback, with limits that let `runs` of them happen at once. */
export async function startSoakServer ({ agent, runs }: { agent: Agent, runs: number }): Promise<SoakServer> {
  const violations: Violation[] = []
  const complaints: string[] = []
  violationChannel.subscribe((violation) => { violations.push(violation as Violation) }) // the channel carries nothing else
  process.on('warning', (warning) => { complaints.push(String(warning)) })

  const secret = crypto.randomUUID()
  const stream = { write: (line: string) => { complaints.push(line.trim()) } }
  const app = Fastify({ ...serverOptions, logger: { ...serverOptions.logger, level: 'warn', stream }, pluginTimeout: 60_000 })
  await app.register(threadline, { agents: [agent], env: environment(secret, runs) })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })

  return {
    app,
    socketUrl: `${url.replace('http', 'ws')}/v1/socket`,
    violations,
    complaints,
    sign: async (user) => await new SignJWT({ sub: user, iss: issuer, aud: audience })
      .setProtectedHeader({ alg: 'HS256' }).setExpirationTime('1h').sign(new TextEncoder().encode(secret)),
    close: async () => { await app.close() }
  }
}

function environment (secret: string, runs: number): Record<string, string | number | undefined> {
  return {
    DATABASE_URL: process.env['DATABASE_URL'],
    DATA_DIR: 'memory',
    AGENTS_DIR: join(import.meta.dirname, '../../agents'),
    AUTH_SECRET: secret,
    AUTH_ISSUER: issuer,
    AUTH_AUDIENCE: audience,
    MAX_CONCURRENT_RUNS: runs,
    MAX_CONNECTIONS_PER_USER: runs * 2,
    MAX_CONNECTIONS_TOTAL: runs * 4,
    MESSAGES_PER_WINDOW: 100_000,
    // What a chat receives is counted, and a title would be told to all connections of its user.
    TITLE_MODEL: 'off',
    // All runs wait for each other in their tool, and on a busy machine that takes a while.
    TOOL_TIMEOUT_MS: 90_000,
    // Forgets users at each beat, so that the end can be seen soon.
    MESSAGE_WINDOW_MS: 500,
    HEARTBEAT_INTERVAL_MS: 1000,
    HEARTBEAT_TIMEOUT_MS: 60_000
  }
}
