import { setTimeout as sleep } from 'node:timers/promises'
import { ThreadlineError } from '../../lib/errors.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import type { SeededRandom } from './cluster/histories/seeded-random.ts'

export interface FaultyStorageOptions {
  readonly random: SeededRandom
  /** Asked at each question; while it says no, everything is as it should be. */
  readonly isTroubled: () => boolean
}

/** Of all questions: how many are refused; as many are done and not answered, late, or answered late. */
const share = 0.05
/** Of all heartbeats: with how many it is cut off for a while. */
const cutShare = 0.15
const longestDelayMs = 500

/**
 * A storage as an engine has it in bad times: what it asks of runs, of the queue and of the log fails now and then, before or after it was done. At times it
 * loses its leases, and what it has told by then arrives late: somebody else has its runs, and goes on with them.
 */
export function createFaultyStorage (storage: Storage, { random, isTroubled }: FaultyStorageOptions): Storage {
  const late = async (): Promise<void> => { await sleep(random.between(50, longestDelayMs)) }
  const trying = async <Answer>(ask: () => Promise<Answer>): Promise<Answer> => {
    const fault = isTroubled() ? Math.floor(random.next() / share) : Infinity
    if (fault === 0) throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
    if (fault === 1) await late()
    const answer = await ask()
    if (fault === 2) throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
    if (fault === 3) await late()
    return answer
  }
  const cut = { until: 0 }
  const isCut = (): boolean => isTroubled() && performance.now() < cut.until
  const { events, messages, queue, runs } = storage
  return {
    ...storage,
    events: {
      ...events,
      async append (batch) {
        if (isCut()) await late()
        return await trying(async () => await events.append(batch))
      }
    },
    messages: { ...messages, history: async (threadId, page) => await trying(async () => await messages.history(threadId, page)) },
    queue: {
      ...queue,
      async renew (lease, held) {
        if (random.next() < cutShare) cut.until = performance.now() + random.between(100, longestDelayMs)
        if (isCut()) throw new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
        return await trying(async () => await queue.renew(lease, held))
      },
      release: async (run, options) => { await trying(async () => { await queue.release(run, options) }) },
      steps: async (runId) => await trying(async () => await queue.steps(runId)),
      requestStop: async (runId, reason) => await trying(async () => await queue.requestStop(runId, reason))
    },
    runs: {
      ...runs,
      claimNext: async (threadId, lease) => await trying(async () => await runs.claimNext(threadId, lease)),
      require: async (runId) => await trying(async () => await runs.require(runId)),
      unfinished: async (threadId) => await trying(async () => await runs.unfinished(threadId)),
      openTools: async (runId) => await trying(async () => await runs.openTools(runId)),
      firstSequence: async (runId) => await trying(async () => await runs.firstSequence(runId))
    }
  }
}
