import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import { createCounter } from '../context/instruments.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import type { Signer } from '../context/signature.ts'
import { createEnvelopes, encodePost } from './envelope.ts'
import type { Receive, Signal, Topic } from './event-bus.ts'
import { NodeClocks } from './node-clocks.ts'

export interface BusEndOptions {
  readonly node: string
  readonly signer: Signer
  readonly logger: Logger
  /** As it is counted. */
  readonly bus: 'in-process' | 'postgres' | 'redis'
  /** Those of another bus of this node, when there is one. */
  readonly clocks?: NodeClocks | undefined
  /** A topic has got its first subscription here, or lost its last one. */
  readonly opened?: (topic: Topic) => void
  readonly closed?: (topic: Topic) => void
}

type Sent = 'ok' | 'dropped' | 'failed' | 'too_large' | 'unreadable'

/** Of one post. The envelope adds some two hundred characters. */
export const maxPostBytes = 256 * 1024 + 4 * 1024

const messages = createCounter(metricDefinitions.busMessages)

interface Subscriptions { readonly topic: Topic, readonly receivers: Set<Receive> }

/** What the end of each bus on this node has in common: who listens here, what is sealed and opened, and how it is counted. */
export class BusEnd {
  readonly node: string
  /** Whether other nodes are refused for their time. */
  readonly clocks: NodeClocks
  readonly #options: BusEndOptions
  readonly #envelopes: ReturnType<typeof createEnvelopes>
  readonly #subscriptions = new Map<string, Subscriptions>()
  readonly #said = new Set<string>()

  constructor (options: BusEndOptions) {
    this.node = options.node
    this.#options = options
    this.clocks = options.clocks ?? new NodeClocks(options)
    this.#envelopes = createEnvelopes(options.node, options.signer)
  }

  get subscribed (): number { return this.#subscriptions.size }

  get topics (): readonly Topic[] { return [...this.#subscriptions.values()].map(({ topic }) => topic) }

  subscribe (topic: Topic, receive: Receive): () => void {
    const key = keyOfTopic(topic)
    const known = this.#subscriptions.get(key)
    const subscriptions = known ?? { topic, receivers: new Set() }
    const own: Receive = (signal, from) => { receive(signal, from) } // whoever subscribes twice is told twice
    subscriptions.receivers.add(own)
    if (known === undefined) {
      this.#subscriptions.set(key, subscriptions)
      this.#options.opened?.(topic)
    }
    return () => {
      if (!subscriptions.receivers.delete(own) || subscriptions.receivers.size > 0) return
      this.#subscriptions.delete(key)
      this.#options.closed?.(topic)
    }
  }

  /** A post as it is sealed; undefined for one that cannot be sent, which has been counted, and said once. */
  encode (topic: Topic, signal: Signal): string | undefined {
    try {
      const text = encodePost({ topic, signal })
      if (Buffer.byteLength(text) <= maxPostBytes) return text
      this.sent('too_large')
      this.sayOnce('too large', {}, 'What was to be told to other nodes is too large, and was dropped')
    } catch (err) {
      this.sent('unreadable')
      this.sayOnce('unreadable', { err }, 'What was to be told to other nodes is no JSON, and was dropped')
    }
    return undefined
  }

  seal (posts: readonly string[]): string { return this.#envelopes.seal(posts) }

  /** Opens what has come and tells it to those who listen, in nobody's context. `isPlace`: whether a topic may come on the way on which it came. */
  hear (text: string, isPlace: (topic: Topic) => boolean = () => true): void {
    context.with(ROOT_CONTEXT, () => {
      const opened = this.#envelopes.open(text)
      if (opened === undefined) return
      for (const refusal of opened.refused) this.#refuse(refusal)
      if ('sealed' in opened) this.clocks.refused(opened.sealed, this.#options.signer.now())
      if (!('posts' in opened)) return
      this.clocks.heard(opened.from)
      for (const { topic, signal } of opened.posts) {
        if (isPlace(topic)) this.#tell(topic, signal, opened.from)
        else this.#refuse('mismatched')
      }
    })
  }

  sent (outcome: Sent, posts = 1): void {
    if (posts > 0) messages.add(posts, { bus: this.#options.bus, direction: 'sent', outcome })
  }

  /** A warning about what goes wrong until `isOver` is called: said at its beginning only. */
  sayOnce (what: string, fields: object, message: string): void {
    if (this.#said.has(what)) return
    this.#said.add(what)
    this.#options.logger.warn({ bus: this.#options.bus, ...fields }, message)
  }

  /** True when it had been said. */
  isOver (what: string): boolean { return this.#said.delete(what) }

  #refuse (outcome: string): void {
    messages.add(1, { bus: this.#options.bus, direction: 'received', outcome })
    if (outcome === 'expired') return // it is said of whom
    this.sayOnce('refused', { outcome }, 'What came from another node was refused; it is counted from now on')
  }

  #tell (topic: Topic, signal: Signal, from: string): void {
    const subscriptions = this.#subscriptions.get(keyOfTopic(topic))
    if (subscriptions === undefined) return
    messages.add(1, { bus: this.#options.bus, direction: 'received', outcome: 'ok' })
    const listening = [...subscriptions.receivers] // who is told may subscribe or leave; who has just left is not told any more
    for (const receive of listening) {
      if (!subscriptions.receivers.has(receive)) continue
      try {
        receive(signal, from)
      } catch (err) {
        this.#options.logger.error({ err, topic: topic.kind }, 'whoever listens to other nodes failed')
      }
    }
  }
}

/** The same for equal topics. A thread's id says nothing of its user here, so both are in it. */
export function keyOfTopic (topic: Topic): string {
  if (topic.kind === 'work' || topic.kind === 'nodes') return topic.kind
  return topic.kind === 'user' ? `user ${topic.userId}` : `thread ${topic.threadId} ${topic.userId}`
}
