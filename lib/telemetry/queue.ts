/** First in, first out. A map would be searched past all that was taken from it. */
export class Queue<Item> {
  #items: Item[] = []
  #next = 0

  add (item: Item): void { this.#items.push(item) }

  take (): Item | undefined {
    const item = this.#items[this.#next]
    if (item !== undefined) this.#next += 1
    if (this.#next >= 1_024) {
      this.#items = this.#items.slice(this.#next)
      this.#next = 0
    }
    return item
  }
}
