import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { registerContextManager } from '../../lib/context/context-manager.ts'
import { answerQuestions } from '../support/program.ts'
import type { BenchRun } from './bench-runs.ts'

/**
 * One node of a service, in a process of its own: the whole application, whose log, queue and gateway are asked directly, without sockets in
 * between. Times are milliseconds since the epoch with fractions: all nodes of a bench are on one machine.
 */

registerContextManager()
const { default: threadline, options } = await import('../../app.ts')
const { defineAgent } = await import('../../lib/agents/define-agent.ts')
const { currentRun, enterThread } = await import('../../lib/context/current-thread.ts')
const { createIdentity, createRunIdentity } = await import('../../lib/context/identity.ts')
const { toUserId } = await import('../../lib/protocol/ids.ts')
const { enterRun, openRuns, thinkingOf } = await import('./bench-runs.ts')

export type Bus = 'poll' | 'postgres' | 'redis'

export interface NodeOptions {
  readonly databaseUrl: string
  readonly redisUrl?: string | undefined
  readonly bus: Bus
  readonly role: 'gateway' | 'worker' | 'all'
  readonly slots?: number
}

export interface Appended { readonly startedAt: number, readonly endedAt: number, readonly tookMs: readonly number[] }
export interface Arrived { readonly events: number, readonly lastAt: number, readonly delaysMs: readonly number[] }

export type ClusterNode = {
  start: (options: NodeOptions) => Promise<null>
  /** Claims as many runs of users of their own, which nobody but the bench tells anything of. */
  open: (count: number) => Promise<readonly BenchRun[]>
  /** Has as many followers listen to each of the threads, and begins to count anew. */
  follow: (input: { runs: readonly BenchRun[], followers: number }) => Promise<null>
  /** Tells events of each run, one after the other, of all runs at the same time; `pauseMs` lies between two of a run. */
  append: (input: { runs: readonly BenchRun[], each: number, pauseMs?: number }) => Promise<Appended>
  /** Waits until as many have arrived, or 30 s are over. */
  arrived: (events: number) => Promise<Arrived>
  /** Sends messages, as many at once as there are users; resolves with when each run was accepted. */
  send: (input: { messages: number, users: number, pauseMs: number }) => Promise<Readonly<Record<string, number>>>
  /** When the agent of each of these runs began; waits for it for 30 s. */
  begun: (runs: readonly string[]) => Promise<Readonly<Record<string, number>>>
}

const now = (): number => performance.timeOrigin + performance.now()
const patienceMs = 30_000

let app: FastifyInstance
const begun = new Map<string, number>()
let arrivals: { count: number, lastAt: number, delaysMs: number[] } = { count: 0, lastAt: 0, delaysMs: [] }
let unfollow: (() => void)[] = []

const agent = defineAgent({
  name: 'quick',
  async * run () {
    begun.set(currentRun().runId, now())
    yield { type: 'text', text: 'Here.' }
  }
})

answerQuestions({
  async start ({ databaseUrl, redisUrl, bus, role, slots = 64 }: NodeOptions) {
    app = Fastify({ ...options, logger: { ...options.logger, level: 'error' }, pluginTimeout: 60_000 })
    await app.register(threadline, {
      agents: [agent],
      env: {
        DATABASE_URL: databaseUrl,
        ...(bus === 'redis' ? { REDIS_URL: redisUrl } : {}),
        THREADLINE_ROLE: role,
        DEFAULT_AGENT: 'quick',
        TITLE_MODEL: 'off',
        MAX_CONCURRENT_RUNS: slots,
        MESSAGES_PER_WINDOW: 10_000_000
      }
    })
    await app.ready()
    if (bus === 'poll') await app.bus.close()
    return null
  },

  open: async (count: number) => await openRuns(app.storage, count),

  async follow ({ runs, followers }: { runs: readonly BenchRun[], followers: number }) {
    for (const stop of unfollow) stop()
    arrivals = { count: 0, lastAt: 0, delaysMs: [] }
    unfollow = runs.flatMap(({ identity }) => enterThread(createIdentity(identity), () => Array.from({ length: followers }, () =>
      app.eventLog.follow(identity.threadId, ({ payload }) => {
        const at = now()
        arrivals.count += 1
        arrivals.lastAt = at
        if ('message' in payload) arrivals.delaysMs.push(at - Number(payload.message))
      }))))
    await delay(500) // until the subscriptions stand
    return null
  },

  async append ({ runs, each, pauseMs = 0 }: { runs: readonly BenchRun[], each: number, pauseMs?: number }) {
    const own = runs.map(({ identity, attempt }) => ({ identity: createRunIdentity(identity), attempt }))
    const tookMs: number[] = []
    const startedAt = now()
    await Promise.all(own.map(async (run) => {
      for (let event = 0; event < each; event += 1) {
        const at = now()
        await enterRun(run, async () => await app.eventLog.append({ ...thinkingOf(run), payload: { message: String(at), step: 0 } }, run.attempt))
        tookMs.push(now() - at)
        if (pauseMs > 0) await delay(pauseMs)
      }
    }))
    return { startedAt, endedAt: now(), tookMs }
  },

  async arrived (events: number) {
    const end = now() + patienceMs
    while (arrivals.count < events && now() < end) await delay(5)
    return { events: arrivals.count, lastAt: arrivals.lastAt, delaysMs: arrivals.delaysMs }
  },

  async send ({ messages, users, pauseMs }: { messages: number, users: number, pauseMs: number }) {
    const accepted: Record<string, number> = {}
    await Promise.all(Array.from({ length: users }, async (_user, index) => {
      const identity = createIdentity({ userId: toUserId(`sender-${index}`) })
      for (let message = 0; message < messages / users; message += 1) {
        const { run_id: runId } = await enterThread(createIdentity({ userId: identity.userId }), async () => await app.gateway.perform({
          type: 'user_message', payload: { content: 'What time is it?' }
        }))
        accepted[runId ?? ''] = now()
        await delay(pauseMs)
      }
    }))
    return accepted
  },

  async begun (runs: readonly string[]) {
    const end = now() + patienceMs
    while (!runs.every((run) => begun.has(run)) && now() < end) await delay(5)
    return Object.fromEntries(begun)
  }
} satisfies ClusterNode)
