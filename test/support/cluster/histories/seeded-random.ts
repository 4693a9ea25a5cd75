/** Numbers that are always the same for the same seed. */
export interface SeededRandom {
  /** In [0, 1). */
  next (): number
  /** A whole number, both ends included. */
  between (least: number, most: number): number
  /** One of them. Throws when there is none. */
  pick<T> (items: readonly T[]): T
}

/** Mulberry32, by Tommy Ettinger, in the public domain: 32 bits of state are enough to draw faults by. */
export function createRandom (seed: number): SeededRandom {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1))
  return {
    next,
    between,
    pick (items) {
      const item = items[between(0, items.length - 1)]
      if (item === undefined) throw new Error('There is nothing to pick from')
      return item
    }
  }
}
