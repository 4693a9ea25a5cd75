import { propagation, type Baggage, type BaggageEntry } from '@opentelemetry/api'

/**
 * Baggage whose entries are made when they are first asked for. A context is entered several times for each message, and its
 * baggage is asked for only where a header is written.
 */
export class IdentityBaggage implements Baggage {
  readonly #read: () => Readonly<Record<string, string>>
  #baggage: Baggage | undefined

  /** `read` gives the same values whenever it is called. */
  constructor (read: () => Readonly<Record<string, string>>) {
    this.#read = read
  }

  getEntry (name: string): BaggageEntry | undefined { return this.#made.getEntry(name) }
  getAllEntries (): [string, BaggageEntry][] { return this.#made.getAllEntries() }
  setEntry (name: string, entry: BaggageEntry): Baggage { return this.#made.setEntry(name, entry) }
  removeEntry (name: string): Baggage { return this.#made.removeEntry(name) }
  removeEntries (...names: string[]): Baggage { return this.#made.removeEntries(...names) }
  clear (): Baggage { return this.#made.clear() }

  get #made (): Baggage {
    if (this.#baggage !== undefined) return this.#baggage
    const entries = Object.entries(this.#read()).map(([name, value]) => [name, { value }] as const)
    return this.#baggage = propagation.createBaggage(Object.fromEntries(entries))
  }
}
