import { setTimeout as delay } from 'node:timers/promises'

/** The value of an option as a whole number above 0; ends the program with 2 when it is none. */
export function readCount (name: string, value: string | undefined): number {
  const number = Number(value)
  if (Number.isInteger(number) && number > 0) return number
  console.error(`--${name} takes a whole number above 0`)
  process.exit(2)
}

/** Rejects after the time limit, and aborts `limit`. It does not keep the process alive. */
export async function giveUpAfter (seconds: number, limit: AbortController): Promise<never> {
  await delay(seconds * 1000, undefined, { ref: false })
  limit.abort()
  throw new Error(`not done after ${seconds} s`)
}
