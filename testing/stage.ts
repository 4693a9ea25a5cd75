import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import threadline, { options as serverOptions } from '../app.ts'
import type { Agent } from '../lib/agents/define-agent.ts'
import type { LanguageModel } from '../lib/models/model-registry.ts'
import type { Report } from '../verify/report.ts'
import { verify } from '../verify/verify.ts'
import { spanOf } from './span-of.ts'
import { connectStageUser, type StageUser } from './stage-user.ts'
import { watchSpans } from './watch-spans.ts'
import { watchViolations, type SeenViolation } from './watch-violations.ts'

export interface StageOptions {
  /** Beside the product's own two. */
  readonly agents?: readonly Agent[]
  /** Further models under names of their own. */
  readonly models?: Readonly<Record<string, LanguageModel>>
  /** Registered after the product, as a team's own server does it. */
  readonly plugins?: readonly FastifyPluginAsync[]
  /** Configuration, by the names of the environment, which itself is not read. Without `DATABASE_URL` the database is in memory. */
  readonly env?: Readonly<Record<string, string | number | undefined>>
  /** How long anything may take that is waited for, in ms; 20,000 without it. */
  readonly limitMs?: number
}

/**
 * A whole server on a free port of loopback, with its witnesses: the guard, and the verifier over its spans. Both see the whole process:
 * there is one stage at a time in it.
 */
export interface Stage {
  readonly app: FastifyInstance
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  /** A user with a socket of its own in a new thread, or as one more tab in one of the user's threads. */
  enter (userId: string, options?: { readonly threadId?: string | undefined }): Promise<StageUser>
  /** What guard and inheritance check have reported so far. */
  readonly violations: readonly SeenViolation[]
  /** Lines of JSON that the server has logged, from warnings up. */
  readonly log: readonly string[]
  /** Verifies every trace so far, once nothing runs and all spans have ended, or the limit is over: what is open then is told as incomplete. */
  verify (): Promise<Report>
  /** Lets everybody leave, and closes the server. */
  close (): Promise<void>
}

const productAgents = fileURLToPath(new URL('../agents', import.meta.url))

/**
 * Starts the server in this process. Throws what the server's start throws, and when somebody else's tracer provider is registered. The
 * caller closes it.
 */
export async function openStage (options: StageOptions = {}): Promise<Stage> {
  const { agents, models, plugins = [], limitMs = 20_000 } = options
  const spans = watchSpans()
  const guarded = watchViolations()
  const log: string[] = []
  const stream = { write (line: string) { log.push(line) } }
  const app = Fastify({ ...serverOptions, logger: { ...serverOptions.logger, level: 'warn', stream }, pluginTimeout: 120_000 })
  const close = async (): Promise<void> => {
    await Promise.all(users.map(async (user) => { await user.leave() }))
    await app.close()
    guarded.stop()
    spans.stop()
  }
  const users: StageUser[] = []

  try {
    await app.register(threadline, {
      ...(agents === undefined ? {} : { agents }),
      ...(models === undefined ? {} : { models }),
      // Whoever counts what a user is sent is not disturbed by a title or a full window.
      env: { DATA_DIR: 'memory', AGENTS_DIR: productAgents, TITLE_MODEL: 'off', MESSAGES_PER_WINDOW: 100_000, ...options.env }
    })
    for (const plugin of plugins) await app.register(plugin)
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    const isQuiet = (): boolean => spans.open === 0 && app.engine.load.runs === 0 && app.engine.load.sessions === 0

    return {
      app,
      url,
      violations: guarded.violations,
      log,
      async enter (userId, { threadId } = {}) {
        const token = await requestToken(url, userId, limitMs)
        const user = await connectStageUser({ url, userId, token, limitMs, threadId: threadId ?? await createThread(url, token, limitMs) })
        users.push(user)
        return user
      },
      async verify () {
        await spans.settled(isQuiet, limitMs)
        return verify(spans.all.map(spanOf), { lateMs: 0, openRunMs: 0 })
      },
      close
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function requestToken (url: string, userId: string, limitMs: number): Promise<string> {
  const { token } = await post(`${url}/v1/dev/tokens`, {}, { user_id: userId }, limitMs)
  return String(token)
}

async function createThread (url: string, token: string, limitMs: number): Promise<string> {
  const { thread_id: threadId } = await post(`${url}/v1/threads`, { authorization: `Bearer ${token}` }, {}, limitMs)
  return String(threadId)
}

async function post (
  url: string, headers: Readonly<Record<string, string>>, body: object, limitMs: number
): Promise<Readonly<Record<string, unknown>>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(limitMs)
  })
  const answer = await response.json() as Readonly<Record<string, unknown>> // each answer of the service is an object
  if (!response.ok) throw new Error(`POST ${new URL(url).pathname} was refused: ${JSON.stringify(answer)}`)
  return answer
}
