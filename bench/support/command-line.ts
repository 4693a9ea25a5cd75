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

/**
 * Runs a bench to its end or its time limit. What goes wrong is told, and makes the exit code 1. `limit` is aborted in any case, and with
 * it whatever the bench has started under its signal.
 */
export async function runBench (bench: () => Promise<void>, timeoutSeconds: number, limit: AbortController): Promise<void> {
  try {
    await Promise.race([bench(), giveUpAfter(timeoutSeconds, limit)])
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.stack ?? error.message : String(error)}`)
    process.exitCode = 1
  }
  limit.abort()
}
