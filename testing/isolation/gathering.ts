import { bindThread } from '../../lib/context/bind.ts'

/** How long whoever has come waits for the others, in ms. */
const patienceMs = 200

/** Lets those who come to the same place go on together, one right after the other, each in its own context. Nobody waits before `begin`. */
export class Gathering {
  readonly #places = new Map<string, (() => void)[]>()
  #size = 1

  /** So many will come to each place. */
  begin (size: number): void { this.#size = size }

  come (place: string, then: () => void): void {
    const waiting = this.#places.get(place) ?? []
    waiting.push(bindThread(then))
    this.#places.set(place, waiting)
    if (waiting.length >= this.#size) this.#release(place, waiting)
    else if (waiting.length === 1) setTimeout(() => { this.#release(place, waiting) }, patienceMs).unref()
  }

  #release (place: string, waiting: readonly (() => void)[]): void {
    if (this.#places.get(place) !== waiting) return
    this.#places.delete(place)
    for (const then of waiting) then()
  }
}
