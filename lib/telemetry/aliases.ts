/** Names for ids of others, the same name for the same id: what differs still differs, and nobody is told who it is. */
export class Aliases {
  readonly #owner: string
  readonly #own: ReadonlySet<string>
  readonly #names = new Map<string, string>()
  readonly #counts = new Map<string, number>()

  /** `own` are ids that are shown wherever they stand. */
  constructor (owner: string, own: readonly string[]) {
    this.#owner = owner
    this.#own = new Set(own)
  }

  /** What nobody says to be the owner's may be anybody's. */
  isOwner (userId: unknown): boolean { return userId === this.#owner }

  user (id: string): string { return id === this.#owner ? id : this.of('user', id) }

  /** An id that belongs to somebody else, unless it is one of the owner's. */
  of (kind: string, id: string): string {
    if (this.#own.has(id)) return id
    const key = `${kind} ${id}`
    const known = this.#names.get(key)
    if (known !== undefined) return known
    const count = (this.#counts.get(kind) ?? 0) + 1
    const name = `another-${kind}-${count}`
    this.#counts.set(kind, count)
    this.#names.set(key, name)
    return name
  }
}
