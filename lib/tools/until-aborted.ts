/**
 * The work's result, or the signal's reason as soon as it is aborted, whatever the work does then: work that does not heed its signal is
 * abandoned, and what becomes of it later is discarded.
 */
export async function untilAborted<T> (signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => { reject(signal.reason as Error) } // an Error: every abort of ours gives one as reason
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work(), aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
