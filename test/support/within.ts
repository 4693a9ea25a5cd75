/** The promise, for at most so long: then an error that says what was waited for in vain. Some things are only known by then. */
export async function within<T> (what: string | (() => string), promise: Promise<T>, timeoutMs = 30_000): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new Error(`Waited ${timeoutMs} ms in vain for ${typeof what === 'string' ? what : what()}`))
  }, timeoutMs)
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
