import { expiryOf, type Signer } from '../context/signature.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import { isThreadId, isUserId } from '../protocol/ids.ts'
import type { Signal, Topic } from './event-bus.ts'
import type { Sealed } from './node-clocks.ts'

/** A signal with what it is of. */
export interface Post {
  readonly topic: Topic
  readonly signal: Signal
}

/**
 * Why it is not heard. `untrusted`: no node of ours has signed it. `expired`: one has, too long ago by the clock of this one. `malformed`: it cannot be
 * read. `mismatched`: it holds an event of another user or thread than its topic's.
 */
export type Refusal = 'untrusted' | 'expired' | 'malformed' | 'mismatched'

export interface Opened {
  readonly from: string
  readonly posts: readonly Post[]
  /** Of the others in the same envelope. */
  readonly refused: readonly Refusal[]
}

export interface Refused {
  readonly refused: readonly Refusal[]
  /** Of what has expired: who has sealed it, and when. */
  readonly sealed?: Sealed
}

/** How long after it was sealed an envelope is opened: buses are quick, and what comes later may have been kept by somebody. */
const lifeMs = 60_000

/**
 * What travels between nodes: `<signature> <node> <posts as JSON>`. The signature is of the node and of all that it says, topics included, so that nothing
 * can be taken out of it and sent to others.
 */
export function createEnvelopes (node: string, signer: Signer) {
  return {
    /** `posts`: each as `encodePost` gives it. */
    seal (posts: readonly string[]): string {
      const body = `[${posts.join(',')}]`
      return `${signer.sign('bus', [node, body], lifeMs)} ${node} ${body}`
    },
    /** Undefined for one of this very node. */
    open (text: string): Opened | Refused | undefined {
      const [signature, from, body] = partsOf(text)
      if (from === node) return undefined
      if (from === undefined || body === undefined) return { refused: ['malformed'] }
      const refusal = signer.refuse('bus', [from, body], signature)
      if (refusal === 'expired') return { refused: [refusal], sealed: { from, at: expiryOf(signature ?? '') - lifeMs } }
      if (refusal !== undefined) return { refused: ['untrusted'] }
      return { from, ...readPosts(body) }
    }
  }
}

/** Throws where the body of a message is no JSON. */
export function encodePost ({ topic, signal }: Post): string {
  const fields = fieldsOf(topic)
  return JSON.stringify(signal.kind === 'events' ? [fields, 'events', signal.sequence, signal.events] : [fields, 'message', signal.name, signal.body])
}

function fieldsOf (topic: Topic): readonly string[] {
  if (topic.kind === 'thread') return ['thread', topic.userId, topic.threadId]
  return topic.kind === 'user' ? ['user', topic.userId] : [topic.kind]
}

function partsOf (text: string): readonly string[] {
  const first = text.indexOf(' ')
  const second = text.indexOf(' ', first + 1)
  return first < 0 || second < 0 ? [] : [text.slice(0, first), text.slice(first + 1, second), text.slice(second + 1)]
}

function readPosts (body: string): Pick<Opened, 'posts' | 'refused'> {
  const read = parse(body)
  if (!Array.isArray(read)) return { posts: [], refused: ['malformed'] }
  const posts: Post[] = []
  const refused: Refusal[] = []
  for (const item of read) {
    const post = readPost(item)
    if (typeof post === 'string') refused.push(post)
    else posts.push(post)
  }
  return { posts, refused }
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // it says so by what it is
  }
}

// It is signed, and read with care all the same: a node of another version may have written it.
function readPost (item: unknown): Post | Refusal {
  if (!Array.isArray(item)) return 'malformed'
  const [fields, kind, name, content] = item as readonly unknown[]
  const topic = readTopic(fields)
  if (topic === undefined) return 'malformed'
  if (kind === 'message' && typeof name === 'string') return { topic, signal: { kind, name, body: content ?? null } }
  if (kind !== 'events' || !isSequence(name)) return 'malformed'
  if (content === undefined || content === null) return { topic, signal: { kind, sequence: name } }
  if (!isRange(content, name)) return 'malformed'
  return content.every((event) => isOf(event, topic)) ? { topic, signal: { kind, sequence: name, events: content } } : 'mismatched'
}

function readTopic (fields: unknown): Topic | undefined {
  const [kind, userId, threadId] = Array.isArray(fields) ? fields as readonly unknown[] : []
  if (kind === 'work' || kind === 'nodes') return { kind }
  if (!isUserId(userId)) return undefined
  if (kind === 'user') return { kind, userId }
  return kind === 'thread' && isThreadId(threadId) ? { kind, userId, threadId } : undefined
}

function isOf (event: ThreadEvent, topic: Topic): boolean {
  return topic.kind === 'thread' && event.user_id === topic.userId && event.thread_id === topic.threadId
}

/** Events without a gap that end at a sequence. What else is in them was written by a log. */
function isRange (events: unknown, last: number): events is readonly ThreadEvent[] {
  return Array.isArray(events) && events.every((event: unknown, index) =>
    typeof event === 'object' && event !== null && 'sequence' in event && event.sequence === last - events.length + 1 + index)
}

const isSequence = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0
