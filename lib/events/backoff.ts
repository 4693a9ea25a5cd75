/** In ms: doubles with each attempt from the first, and half of it is chance, so that nodes which lost the same server do not come back at once. */
export function backoffMs (attempt: number, { firstMs = 100, maxMs }: { firstMs?: number, maxMs: number }): number {
  const whole = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 20))
  return Math.ceil(whole / 2 + Math.random() * whole / 2)
}
