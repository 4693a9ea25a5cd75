import { setTimeout as delay } from 'node:timers/promises'
import { isThreadlineError } from '../errors.ts'

const firstDelayMs = 100
const maxDelayMs = 5_000

/**
 * Does the work, and does it again after a growing delay as long as the storage does not answer and somebody wants it. Rejects with any other error.
 */
export async function whileStorageIsAway (isWanted: () => boolean, work: () => Promise<void>): Promise<void> {
  for (let delayMs = firstDelayMs; isWanted(); delayMs = Math.min(delayMs * 2, maxDelayMs)) {
    try {
      return await work()
    } catch (err) {
      if (!isThreadlineError(err, 'THREADLINE_STORAGE_UNAVAILABLE')) throw err
    }
    if (isWanted()) await delay(delayMs * (0.5 + Math.random() / 2), undefined, { ref: false })
  }
}
