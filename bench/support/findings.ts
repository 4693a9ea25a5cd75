/** One thing that was counted, beside what it should be. */
export interface Count {
  readonly name: string
  readonly seen: number
  readonly ok: boolean
  /** What is expected, in words. */
  readonly wanted: string
}

/** What checks have counted, and what they have found wrong, in words. */
export class Findings {
  readonly counts: Count[] = []
  readonly problems: string[] = []

  /** A count that is off is a problem in itself. */
  count (name: string, expected: number, seen: number): void {
    this.#add({ name, seen, ok: seen === expected, wanted: String(expected) })
  }

  /** The same for what may also be less. */
  countAtMost (name: string, limit: number, seen: number): void {
    this.#add({ name, seen, ok: seen <= limit, wanted: `≤ ${limit}` })
  }

  /** Counts the items about which `complain` has something to say; none is expected. */
  none<Item> (name: string, items: Iterable<Item>, complain: (item: Item) => string | undefined): void {
    const complaints = [...items].map(complain).filter((complaint) => complaint !== undefined)
    this.problems.push(...complaints)
    this.count(name, 0, complaints.length)
  }

  #add (count: Count): void {
    this.counts.push(count)
    if (!count.ok) this.problems.push(`${count.name}: ${count.seen} instead of ${count.wanted}`)
  }
}
