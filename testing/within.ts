/** The promise, for at most so long: then an error that says what was waited for in vain. */
export async function within<T> (what: string, promise: Promise<T>, limitMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => { reject(new Error(`Waited ${limitMs} ms in vain for ${what}`)) }, limitMs)
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
