import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import { currentIdentity } from '../context/current-thread.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'
import type { PeerNodes } from './peer-nodes.ts'
import type { Content, Relay } from './relay.ts'

/** What another node last said of its connections. `version` grows with each of its messages, which may come in any order. */
interface Peer { readonly count: number, readonly version: number, readonly until: number }

type Key = `${UserId} ${ThreadId | ''}`

export interface PeerCountsOptions {
  readonly relay: Relay
  /** What a node that is gone has said does not count. */
  readonly nodes: Pick<PeerNodes, 'heard' | 'isGone' | 'decidedInMs'>
  /** Connections of this node: of the active user, or those in a thread of the user. */
  readonly here: (threadId: ThreadId | undefined) => number
  /** Called in the identity of the owner when the others have another number. */
  readonly changed: (threadId: ThreadId | undefined) => void
  /** How long what a node has said holds when nothing more is heard of it. */
  readonly lifeMs: number
  readonly now?: () => number
}

/** When two nodes have not heard each other, this is how long they may take to find out. */
const refreshesUntilLoud = 4

/** By then a subscription that takes a round trip stands. */
const askAgainMs = 300

/**
 * How many connections the other nodes have, of each user and in each thread that this one has some of. Every node says its own number when it changes,
 * when somebody asks, and once in a while. What a node has said does not count while the node is gone, as one that was killed, and expires when it does not say it
 * again. A number is therefore right in the end, and not at every moment.
 */
export class PeerCounts {
  readonly #options: PeerCountsOptions
  readonly #peers = new Map<Key, Map<string, Peer>>()
  readonly #now: () => number
  /** Topics that were joined a moment ago: an answer could have come before the subscription stood. */
  #joined = new Set<Key>()
  #timer: NodeJS.Timeout | undefined
  #version = 0
  #refreshed = 0
  #isSilent = false

  constructor (options: PeerCountsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    const heard = (content: Content, from: string, threadId?: ThreadId): void => { this.#heard(content, from, threadId) }
    options.relay.hear('user', 'present', (content, from) => { heard(content, from) })
    options.relay.hear('thread', 'present', (content, from) => { heard(content, from, currentIdentity().threadId) })
  }

  /** Of the active user, or in a thread of the user; 0 for what was not joined. */
  elsewhere (threadId?: ThreadId): number {
    return this.#counting(threadId).reduce((sum, { count }) => sum + count, 0)
  }

  /** In how many ms one of those that count for the active user may turn out to be gone; undefined when there is none. */
  get decidedInMs (): number | undefined {
    const ms = this.#counting().map(({ node }) => this.#options.nodes.decidedInMs(node))
    return ms.length === 0 ? undefined : Math.min(...ms)
  }

  /** Begins to listen, and asks the others. */
  join (threadId?: ThreadId): void {
    const { relay } = this.#options
    const before = relay.size
    relay.join(threadId)
    if (relay.size === before) return
    const key = keyOf(threadId)
    this.#peers.set(key, new Map())
    this.#joined.add(key)
    this.tell(threadId, true)
    this.#timer ??= context.with(ROOT_CONTEXT, () => setTimeout(() => { this.#askAgain() }, askAgainMs).unref())
  }

  /** Says the number of this node to the others, and asks them for theirs when it is to. */
  tell (threadId: ThreadId | undefined, ask = false): void {
    if (this.#isSilent) return
    const { relay, here } = this.#options
    this.#version += 1
    relay.send('present', { connections: here(threadId), version: this.#version, ask }, threadId)
  }

  /** Forgets what the others have said. */
  leave (threadId?: ThreadId): void {
    this.#options.relay.leave(threadId)
    this.#peers.delete(keyOf(threadId))
  }

  /** Forgets what has expired, and says the numbers of this node once more; seldom where nobody else has said one, which is so in most threads. */
  async refresh ({ ask = false } = {}): Promise<void> {
    this.#refreshed += 1
    const isLoud = ask || this.#refreshed % refreshesUntilLoud === 0
    await this.#options.relay.forEach((threadId) => {
      this.#expire(threadId)
      if (isLoud || (this.#peers.get(keyOf(threadId))?.size ?? 0) > 0) this.tell(threadId, ask)
    })
  }

  /** A node has gone, or is there again. */
  async judge (node: string): Promise<void> {
    await this.#options.relay.forEach((threadId) => {
      if ((this.#peers.get(keyOf(threadId))?.get(node)?.count ?? 0) > 0) this.#options.changed(threadId)
    })
  }

  /** Says nothing more. */
  stop (): void {
    this.#isSilent = true
    clearTimeout(this.#timer)
  }

  /** What holds for a key of the active user. */
  #counting (threadId?: ThreadId): readonly { readonly node: string, readonly count: number }[] {
    const now = this.#now()
    return [...this.#peers.get(keyOf(threadId)) ?? []].flatMap(([node, { count, until }]) =>
      count > 0 && until > now && !this.#options.nodes.isGone(node) ? [{ node, count }] : [])
  }

  #askAgain (): void {
    this.#timer = undefined
    const joined = this.#joined
    this.#joined = new Set()
    void this.#options.relay.forEach((threadId) => {
      if (joined.has(keyOf(threadId))) this.tell(threadId, true)
    })
  }

  #expire (threadId: ThreadId | undefined): void {
    const now = this.#now()
    const peers = this.#peers.get(keyOf(threadId))
    const expired = [...peers ?? []].filter(([, { until }]) => until <= now)
    for (const [node] of expired) peers?.delete(node)
    if (expired.some(([node, { count }]) => count > 0 && !this.#options.nodes.isGone(node))) this.#options.changed(threadId)
  }

  #heard ({ connections: count, version, ask }: Content, from: string, threadId: ThreadId | undefined): void {
    const peers = this.#peers.get(keyOf(threadId))
    if (peers === undefined || !isCount(count) || !isCount(version)) return
    if ((peers.get(from)?.version ?? -1) >= version || !this.#options.nodes.heard(from)) return
    const before = this.elsewhere(threadId)
    peers.set(from, { count, version, until: this.#now() + this.#options.lifeMs })
    if (ask === true) this.tell(threadId)
    if (this.elsewhere(threadId) !== before) this.#options.changed(threadId)
  }
}

function keyOf (threadId: ThreadId | undefined): Key { return `${currentIdentity().userId} ${threadId ?? ''}` }

function isCount (value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
