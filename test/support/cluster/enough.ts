import { setTimeout as sleep } from 'node:timers/promises'
import { within } from '../within.ts'

/** Resolves when what is counted has become so many more. */
export async function enough (counted: () => number, more: number, timeoutMs = 60_000): Promise<void> {
  const goal = counted() + more
  const wait = async (): Promise<void> => { while (counted() < goal && !late.aborted) await sleep(10) }
  const late = AbortSignal.timeout(timeoutMs)
  await within(() => `a count of ${goal}, which is ${counted()}`, wait(), timeoutMs)
}
