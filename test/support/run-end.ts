import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Engine } from '../../lib/engine/engine.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import { threadOfRun, type RunId } from '../../lib/protocol/ids.ts'
import { asUser } from './stored-thread.ts'

/** The end of a run, from the log itself: also when no socket is in its thread. */
export async function endOfRun ({ eventLog }: Pick<FastifyInstance, 'eventLog'>, user: string, runId: RunId): Promise<ThreadEvent> {
  const threadId = threadOfRun(runId)
  const isEnd = (event: ThreadEvent): boolean => event.run_id === runId && event.type === 'agent_completed'
  const { promise, resolve } = Promise.withResolvers<ThreadEvent>()
  return await asUser(user, async () => {
    const unfollow = eventLog.follow(threadId, (event) => { if (isEnd(event)) resolve(event) })
    try {
      const stored = await eventLog.read(threadId, 0, 10_000)
      if (stored === 'expired') throw new Error('The log does not keep its events')
      return stored.find(isEnd) ?? await promise
    } finally {
      unfollow()
    }
  })
}

/** Resolves when the engine holds as many sessions as are expected: a run tells its end before its session is gone. */
export async function untilSessions (engine: Engine, count: number): Promise<void> {
  while (engine.load.sessions !== count) await turn()
}
