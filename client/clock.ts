/** Time as the client sees it. Passed in, so that a test decides when a delay has passed. */
export interface Clock {
  /** In ms, and never backwards. */
  now (): number
  /** Calls `fn` once after `delayMs`, unless the function that it returns was called before. */
  schedule (delayMs: number, fn: () => void): () => void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  schedule (delayMs, fn) {
    const timer = setTimeout(fn, delayMs)
    return () => { clearTimeout(timer) }
  }
}
