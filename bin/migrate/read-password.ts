import { addAbortSignal, type Readable } from 'node:stream'

const maxLength = 1024
const waitMs = 30_000

/** The first line of the standard input. Rejects when none comes in time, or more than a password. */
export async function readPassword (stdin: Readable): Promise<string> {
  let text = ''
  const limit = new AbortController()
  const timer = setTimeout(() => { limit.abort() }, waitMs)
  try {
    for await (const piece of addAbortSignal(limit.signal, stdin)) {
      text += String(piece)
      if (text.length > maxLength) throw new Error('The standard input is too long for a password')
      if (text.includes('\n')) break
    }
  } catch (error) {
    if (limit.signal.aborted) throw new Error('No password came from the standard input', { cause: error })
    throw error
  } finally {
    clearTimeout(timer)
  }
  const [password = ''] = text.split(/\r?\n/)
  if (password === '') throw new Error('The standard input has no password')
  return password
}
