/** First in, first out; what was taken is let go at once. A map would be searched past all that was taken from it. */
export class Queue<Item> {
  #items: (Item | undefined)[] = []
  #next = 0

  add (item: Item): void { this.#items.push(item) }

  take (): Item | undefined {
    const item = this.#items[this.#next]
    if (item === undefined) return undefined
    this.#items[this.#next] = undefined
    this.#next += 1
    if (this.#next >= 1_024) {
      this.#items = this.#items.slice(this.#next)
      this.#next = 0
    }
    return item
  }
}
