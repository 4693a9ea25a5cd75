import { setImmediate as turn } from 'node:timers/promises'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import { currentIdentity, enterThread, tryCurrentThread } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { createIdentity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import type { EventBus, Signal, Topic } from '../events/event-bus.ts'
import type { ThreadId, UserId } from '../protocol/ids.ts'

/** Called in the identity of the topic that a message came on: its user, and its thread where it is one of a thread. */
export type Heard = (content: Content, from: string) => void | Promise<void>

/** JSON; what is in it was written by another node, which may be of another version. */
export type Content = Readonly<Record<string, unknown>>

/** Topics that are visited at once. */
const slice = 500

type OwnedTopic = Extract<Topic, { readonly userId: UserId }>

/**
 * What this node and the others tell each other of users and threads, beside the log. A topic is one user, or one thread of a user; it is always
 * the active user's, both for what is sent and for what is joined. A message enters the identity of the topic that it came on, and says once more
 * whom it is about: where that is somebody else it is refused, as any other access to what is another's. Without a bus there is nobody to tell.
 */
export class Relay {
  readonly #bus: EventBus | undefined
  readonly #logger: Logger
  readonly #joined = new Map<string, { readonly topic: OwnedTopic, readonly unsubscribe: () => void }>()
  readonly #listeners = new Map<string, Heard>()

  constructor ({ bus, logger }: { readonly bus: EventBus | undefined, readonly logger: Logger }) {
    this.#bus = bus
    this.#logger = logger
  }

  /** Topics that this node listens to: one for each connected user, and one for each followed thread. */
  get size (): number { return this.#joined.size }

  /** Has `heard` called with each message of that name on topics of that kind. Messages that nobody asks for are passed over. */
  hear (kind: OwnedTopic['kind'], name: string, heard: Heard): void { this.#listeners.set(`${kind} ${name}`, heard) }

  /** Tells the other nodes that have joined the active user's topic, or that of the user's thread. */
  send (name: string, content: Content, threadId?: ThreadId): void {
    if (this.#bus === undefined) return
    const topic = topicOf(threadId)
    this.#bus.publish(topic, { kind: 'message', name, body: { user_id: topic.userId, thread_id: threadId ?? null, content } })
  }

  /** Listens to the active user's topic, or that of the user's thread. Doing it again does nothing. */
  join (threadId?: ThreadId): void {
    const bus = this.#bus
    const topic = topicOf(threadId)
    if (bus === undefined || this.#joined.has(keyOf(topic))) return
    // Whoever comes first lends the subscription nothing: it is everybody's who comes after.
    const unsubscribe = context.with(ROOT_CONTEXT, () => bus.subscribe(topic, (signal, from) => { this.#receive(topic, signal, from) }))
    this.#joined.set(keyOf(topic), { topic, unsubscribe })
  }

  leave (threadId?: ThreadId): void {
    const key = keyOf(topicOf(threadId))
    this.#joined.get(key)?.unsubscribe()
    this.#joined.delete(key)
  }

  /** For the node's own housekeeping: calls `visit` for each topic, in the identity of its owner. Sockets are served in between. */
  async forEach (visit: (threadId: ThreadId | undefined) => void): Promise<void> {
    for (const [index, { topic }] of [...this.#joined.values()].entries()) {
      if (index % slice === slice - 1) await turn()
      if (this.#joined.has(keyOf(topic))) enterThread(identityOf(topic), () => { visit(threadOf(topic)) })
    }
  }

  #receive (topic: OwnedTopic, signal: Signal, from: string): void {
    if (signal.kind !== 'message' || !this.#joined.has(keyOf(topic))) return
    const heard = this.#listeners.get(`${topic.kind} ${signal.name}`)
    if (heard === undefined) return
    enterThread(identityOf(topic), () => {
      this.#hear(signal.body, from, heard).catch((err: unknown) => {
        this.#logger.warn({ err, message: signal.name, from }, 'a message of another node was not taken')
      })
    })
  }

  async #hear (body: unknown, from: string, heard: Heard): Promise<void> {
    if (!isObject(body) || !isObject(body['content'])) throw new TypeError('It is not a message of this kind')
    guardClaim(body)
    await heard(body['content'], from)
  }
}

/** Compares whom something says that it is about with the active identity, which is of a thread or of none, as that is. Throws what the guard throws. */
export function guardClaim ({ user_id: userId, thread_id: threadId = null }: Content): void {
  const isOfUser = threadId === null && tryCurrentThread() === undefined
  guard({ userId: userId as UserId, threadId: isOfUser ? undefined : threadId as ThreadId }, 'event-bus') // whatever they are, they are compared only
}

function topicOf (threadId: ThreadId | undefined): OwnedTopic {
  const { userId } = currentIdentity()
  return threadId === undefined ? { kind: 'user', userId } : { kind: 'thread', userId, threadId }
}

function threadOf (topic: OwnedTopic): ThreadId | undefined { return topic.kind === 'thread' ? topic.threadId : undefined }

function identityOf (topic: OwnedTopic) { return createIdentity({ userId: topic.userId, threadId: threadOf(topic) }) }

function keyOf (topic: OwnedTopic): string { return `${topic.userId} ${threadOf(topic) ?? ''}` }

function isObject (value: unknown): value is Content {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
