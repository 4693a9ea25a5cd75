/** One thing that was counted, beside what it should be. */
export interface Count {
  readonly name: string
  readonly expected: number
  readonly seen: number
}

/** What checks have counted, and what they have found wrong, in words. */
export class Findings {
  readonly counts: Count[] = []
  readonly problems: string[] = []

  /** A count that is off is a problem in itself. */
  count (name: string, expected: number, seen: number): void {
    this.counts.push({ name, expected, seen })
    if (expected !== seen) this.problems.push(`${name}: ${seen} instead of ${expected}`)
  }

  /** Counts the items about which `complain` has something to say; none is expected. */
  none<Item> (name: string, items: Iterable<Item>, complain: (item: Item) => string | undefined): void {
    const complaints = [...items].map(complain).filter((complaint) => complaint !== undefined)
    this.problems.push(...complaints)
    this.count(name, 0, complaints.length)
  }
}
