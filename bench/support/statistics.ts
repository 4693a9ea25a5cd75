export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Throws for no values at all. */
export function spreadOf (values: readonly number[]): Spread {
  const sorted = values.toSorted((one, other) => one - other)
  const [lower, upper] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.ceil((sorted.length - 1) / 2)]]
  const [min, max] = [sorted[0], sorted.at(-1)]
  if (lower === undefined || upper === undefined || min === undefined || max === undefined) throw new RangeError('No values')
  return { median: (lower + upper) / 2, min, max }
}
