import { enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { ThreadView } from '../protocol/events.ts'
import { newThreadId, type RunId, type UserId } from '../protocol/ids.ts'
import type { Storage } from '../stores/storage.ts'
import { CanaryClient, isEventOf } from './canary-client.ts'
import { newMarker } from './markers.ts'
import { spanOf, type Home, type Watch } from './watch.ts'

/** A canary's place for one round: a connection of its user, in a thread of its own, with a marker that belongs nowhere else. */
export interface Seat extends Home {
  readonly client: CanaryClient
  /** What it has said so far, with the run that answered it. */
  readonly said: { readonly content: string, readonly runId: RunId }[]
}

export interface SeatOptions {
  readonly gateway: Pick<Gateway, 'join'>
  readonly storage: Pick<Storage, 'threads'>
  readonly watch: Watch
  readonly signal: AbortSignal
}

/** What a seat needs, by which it is cleared away again. */
export interface Furniture {
  readonly threads: ThreadView[]
  readonly clients: CanaryClient[]
}

/** The title keeps every model from being asked for one. */
const title = 'Canary'

/**
 * Gives the user a new thread, and connects a client in it. Whatever was made is in `furniture` also when this throws: the thread is made
 * past the signal, so that none is made after it was looked for.
 */
export async function takeSeat (userId: UserId, furniture: Furniture, { gateway, storage, watch, signal }: SeatOptions): Promise<Seat> {
  signal.throwIfAborted()
  const threadId = newThreadId()
  furniture.threads.push(await enterThread(createIdentity({ userId }), () => storage.threads.create(threadId, { title })))
  const client = new CanaryClient({
    userId,
    signal,
    join: (outbox) => gateway.join(outbox, { userId, expiresAt: null }, { threadId }),
    received: (event) => {
      const isOwn = event.user_id === userId && (event.thread_id === null || event.thread_id === threadId)
      if (!isOwn) watch.raise({ where: 'received', what: event.type, canary: userId, foundAt: event.user_id }, spanOf(event))
    }
  })
  furniture.clients.push(client)
  const seat: Seat = { userId, client, threadId, connectionId: client.connectionId, marker: newMarker(), said: [] }
  watch.settle(seat)
  await client.until((event) => isEventOf(event, 'connection_established'))
  return seat
}
