import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { EventBus, Signal, Topic } from '../events/event-bus.ts'

export interface PeerNodesOptions {
  /** Without one there are no others. */
  readonly bus: EventBus | undefined
  /** A node of which nothing was heard for so long is taken for gone. */
  readonly timeoutMs: number
  /** How long something that a node has said may be kept here; so long it is known that the node has gone. */
  readonly memoryMs: number
  /** Called in nobody's identity when a node has gone, or is there again. */
  readonly changed: (node: string) => void
  /** Called in nobody's identity when this node itself stood still for so long that the others have taken it for gone. */
  readonly woke: () => void
  readonly now?: () => number
}

type State = 'there' | 'silent' | 'left'
interface Peer { state: State, heardAt: number }

const topic: Topic = { kind: 'nodes' }
/** In each time limit this node looks so often after the others, and speaks at every third look: two words may be lost. */
const looks = 10
const looksUntilWord = 3

/**
 * Which of the other nodes are there. Each says so by one small message in a third of the time limit, whatever it has to say of users and threads; one of which
 * nothing is heard for the whole limit is gone, and one that says goodbye is gone at once. Silence proves nothing while signals are lost here for certain, or
 * after this node has stood still itself: the time begins anew then. A node that was only slow is there again with its next word.
 */
export class PeerNodes {
  readonly #options: PeerNodesOptions
  readonly #now: () => number
  readonly #peers = new Map<string, Peer>()
  #unsubscribe: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #lookedAt = 0
  #looks = 0

  constructor (options: PeerNodesOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Begins to speak and to listen. Doing it again does nothing. */
  start (): void {
    const { bus, timeoutMs } = this.#options
    if (bus === undefined || this.#timer !== undefined) return
    this.#lookedAt = this.#now()
    context.with(ROOT_CONTEXT, () => {
      this.#unsubscribe = bus.subscribe(topic, (signal, from) => { this.#receive(signal, from) })
      this.#timer = setInterval(() => { this.look() }, timeoutMs / looks).unref()
    })
  }

  /** Ends that, and forgets the others: for a node that nobody is connected to. */
  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
    this.#peers.clear()
  }

  /** Says that what this node has said counts no more. */
  sayGoodbye (): void { this.#say('left') }

  /** Notes that a node has said something, whatever it is. False when it had said goodbye before: what it says now is late. */
  heard (node: string): boolean {
    const peer = this.#peers.get(node)
    if (peer?.state === 'left') return false
    this.#peers.set(node, { state: 'there', heardAt: this.#now() })
    if (peer?.state === 'silent') this.#options.changed(node)
    return true
  }

  isGone (node: string): boolean { return (this.#peers.get(node)?.state ?? 'there') !== 'there' }

  /** In how many ms it is known whether the node is gone, if nothing is heard of it until then. */
  decidedInMs (node: string): number {
    const heardAt = this.#peers.get(node)?.heardAt ?? this.#now()
    return Math.max(0, heardAt + this.#options.timeoutMs - this.#now())
  }

  /** Speaks when it is time to, and looks who is gone. Called by a timer of its own; a test with a clock of its own may call it. */
  look (): void {
    const { bus, timeoutMs, woke } = this.#options
    const stoodStillMs = this.#now() - this.#lookedAt
    this.#lookedAt = this.#now()
    this.#looks += 1
    if (this.#looks % looksUntilWord === 0) this.#say('alive')
    if (bus?.doubtful === true || stoodStillMs > timeoutMs / 2) this.#beginAnew()
    if (stoodStillMs > timeoutMs) woke()
    this.#judge()
  }

  #beginAnew (): void {
    for (const peer of this.#peers.values()) if (peer.state === 'there') peer.heardAt = this.#now()
  }

  #judge (): void {
    const { timeoutMs, memoryMs, changed } = this.#options
    for (const [node, peer] of this.#peers) {
      const silentMs = this.#now() - peer.heardAt
      if (silentMs >= timeoutMs + memoryMs) this.#peers.delete(node)
      else if (peer.state === 'there' && silentMs >= timeoutMs) {
        peer.state = 'silent'
        changed(node)
      }
    }
  }

  #receive (signal: Signal, from: string): void {
    if (signal.kind !== 'message') return
    if (signal.name === 'alive') this.heard(from)
    if (signal.name !== 'left' || this.#peers.get(from)?.state === 'left') return
    this.#peers.set(from, { state: 'left', heardAt: this.#now() })
    this.#options.changed(from)
  }

  #say (name: 'alive' | 'left'): void {
    context.with(ROOT_CONTEXT, () => { this.#options.bus?.publish(topic, { kind: 'message', name, body: {} }) })
  }
}
