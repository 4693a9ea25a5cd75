/** Things that come one by one and that a test waits for, each once, in the order of their coming. */
export interface Arrivals<T> {
  push (item: T): void
  /** The first that matches and was not taken yet, or will come. Those before it stay. */
  next<Match extends T = T> (matches?: (item: T) => item is Match): Promise<Match>
  next (matches: (item: T) => boolean): Promise<T>
  /** What has come and was not taken. */
  readonly waiting: readonly T[]
}

export function createArrivals<T> (): Arrivals<T> {
  const items: T[] = []
  const takers: { readonly matches: (item: T) => boolean, readonly take: (item: T) => void }[] = []

  return {
    push (item) {
      const at = takers.findIndex(({ matches }) => matches(item))
      if (at === -1) items.push(item)
      else takers.splice(at, 1)[0]?.take(item)
    },
    next (matches: (item: T) => boolean = () => true) {
      return new Promise<never>((resolve) => {
        const take = resolve as (item: T) => void // `matches` has decided
        const at = items.findIndex(matches)
        const [found] = at === -1 ? [] : items.splice(at, 1)
        if (found === undefined) takers.push({ matches, take })
        else take(found)
      })
    },
    get waiting () { return items }
  }
}
