import type { BusEnd } from './bus-end.ts'
import { keyOfTopic } from './bus-end.ts'
import type { Signal, Topic } from './event-bus.ts'

interface OutgoingHint { readonly topic: Topic, sequence: number }

const maxHints = 20_000
const maxMessages = 5_000
const maxMessageBytes = 8 * 1024 * 1024

/**
 * What is to be sent next. Of one thread's hints the newest stays; it needs no events, since whoever hears it asks the log. Bounded: the oldest go,
 * and are counted.
 */
export class OutgoingPosts {
  readonly #end: BusEnd
  readonly #hints = new Map<string, OutgoingHint>()
  readonly #messages: string[] = []
  #messageBytes = 0

  constructor (end: BusEnd) {
    this.#end = end
  }

  get isEmpty (): boolean { return this.#hints.size === 0 && this.#messages.length === 0 }

  add (topic: Topic, signal: Signal): void {
    if (signal.kind === 'events') return this.#addHint(topic, signal.sequence)
    const post = this.#end.encode(topic, signal)
    if (post === undefined) return
    this.#messages.push(post)
    this.#messageBytes += Buffer.byteLength(post)
    while (this.#messages.length > maxMessages || this.#messageBytes > maxMessageBytes) {
      this.#messageBytes -= Buffer.byteLength(this.#messages.shift() ?? '')
      this.#end.sent('dropped')
    }
  }

  /** Messages are of their moment: who cannot send them now does not send them later. */
  dropMessages (): void {
    this.#end.sent('dropped', this.#messages.length)
    this.#messages.length = 0
    this.#messageBytes = 0
  }

  /** At least one post, and as many more as are not longer than that together. None when nothing waits. */
  take (maxBytes: number): readonly string[] {
    const taken: string[] = []
    let bytes = 0
    const fits = (post: string): boolean => {
      bytes += Buffer.byteLength(post) + 1
      return taken.length === 0 || bytes <= maxBytes
    }
    for (let next = this.#messages[0]; next !== undefined && fits(next); next = this.#messages[0]) {
      taken.push(next)
      this.#messages.shift()
      this.#messageBytes -= Buffer.byteLength(next)
    }
    for (const [key, { topic, sequence }] of this.#hints) {
      const post = this.#end.encode(topic, { kind: 'events', sequence })
      if (post !== undefined && !fits(post)) break
      this.#hints.delete(key)
      if (post !== undefined) taken.push(post)
    }
    return taken
  }

  #addHint (topic: Topic, sequence: number): void {
    const key = keyOfTopic(topic)
    const waiting = this.#hints.get(key)
    if (waiting !== undefined) {
      waiting.sequence = Math.max(waiting.sequence, sequence)
      return
    }
    const [oldest] = this.#hints.keys()
    if (this.#hints.size >= maxHints && oldest !== undefined) {
      this.#hints.delete(oldest)
      this.#end.sent('dropped')
    }
    this.#hints.set(key, { topic, sequence })
  }
}
