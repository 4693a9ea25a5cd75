import { setTimeout as delay } from 'node:timers/promises'
import { isThreadlineError } from '../errors.ts'

/** Pauses between attempts, in ms. */
export const briefDelaysMs: readonly number[] = [10, 40, 160, 640]
/** For what everybody waits for. */
export const patientDelaysMs: readonly number[] = [...briefDelaysMs, 2_500, 5_000, 10_000, 30_000, 60_000]

/** Does the work again while the storage is not available, as often as there are pauses. Any other error, and the last one, is thrown. */
export async function whileUnavailable<T> (work: () => Promise<T>, delaysMs: readonly number[]): Promise<T> {
  for (const delayMs of delaysMs) {
    try {
      return await work()
    } catch (error) {
      if (!isThreadlineError(error, 'THREADLINE_STORAGE_UNAVAILABLE')) throw error
      await delay(delayMs)
    }
  }
  return await work()
}
