import type { MessageView, RunStatus, ServerEvent, ThreadEvent } from '../../../lib/protocol/events.ts'

/** Everything that clients of one service have sent and seen, with what is kept of it in the end. */
export interface History {
  readonly clients: readonly ClientRecord[]
  readonly threads: readonly ThreadRecord[]
}

/** One client: a user in one thread, over any number of connections, one after the other. */
export interface ClientRecord {
  readonly name: string
  readonly user: string
  readonly threadId: string
  readonly sent: readonly SentMessage[]
  readonly connections: readonly ConnectionRecord[]
  /** It stayed until nothing happened any more, so it has to know everything. */
  readonly toTheEnd: boolean
}

/** A message of a client under the client's own id, however often it was sent. Its content has its marker. */
export interface SentMessage {
  readonly id: string
  readonly content: string
  readonly answers: readonly Answer[]
}

/** `message_accepted`. */
export interface Answer {
  readonly messageId: string
  readonly runId: string
  readonly duplicate: boolean
}

export interface ConnectionRecord {
  /** The name of the node that it was to. */
  readonly node: string
  /** The sequence that the client had seen before; undefined where it asked for nothing of what was before. */
  readonly after: number | undefined
  readonly received: readonly Received[]
}

export interface Received {
  /** Of the client's clock, in ms. */
  readonly atMs: number
  readonly event: ServerEvent
}

/** A thread as its user reads it over the API when nothing happens any more. */
export interface ThreadRecord {
  readonly user: string
  readonly threadId: string
  readonly events: readonly ThreadEvent[]
  readonly messages: readonly MessageView[]
  readonly runs: readonly RunRecord[]
}

export interface RunRecord {
  readonly runId: string
  readonly messageId: string
  readonly status: RunStatus
}

const marker = /\[([a-z0-9-]+\/[0-9a-f-]{36}\/\d+)\]/g

/** What a message is known by wherever it comes; the brackets keep one number from being the beginning of another. */
export function markerOf (user: string, threadId: string, number: number): string {
  return `[${user}/${threadId}/${number}]`
}

/** Every marker in something that is or becomes JSON, each once. */
export function markersIn (value: unknown): readonly string[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value) ?? ''
  return [...new Set(text.match(marker) ?? [])]
}
