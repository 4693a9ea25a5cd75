import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError, toPublicError } from '../errors.ts'
import type { HandlerConnection } from '../handlers/handler.ts'
import { recentMessages } from '../handlers/recent-messages.ts'
import type { PayloadOf } from '../protocol/events.ts'
import type { Storage } from '../stores/storage.ts'
import type { ThreadState } from '../stores/thread-store.ts'
import type { Connection, Hold, Told } from './connection.ts'
import type { Replayed } from './replay.ts'
import type { Subscriptions } from './subscriptions.ts'
import type { Entry, ThreadMembership } from './thread-membership.ts'

/** What a client has seen of a thread: everything up to the sequence `after` of this epoch. */
export interface Position { readonly after: number, readonly epoch: string }

export interface ResumeOptions {
  readonly membership: ThreadMembership
  readonly subscriptions: Subscriptions
  readonly storage: Storage
  /** Tells what comes before anything that was missed. */
  readonly greet?: (state: ThreadState) => void
  /** Tells how it ended. */
  readonly answer: HandlerConnection['reply']
}

/** A connection that is held back in a thread whose state was read since. */
interface Returning {
  readonly connection: Connection
  readonly hold: Hold
  readonly position: Position
  readonly state: ThreadState
  /** What it has been sent of the thread already. */
  readonly told: Told
}

type Resync = PayloadOf<'resync_required'>

/**
 * Puts the connection into the active thread and sends it, in order and marked as replayed, what it has not seen: what lies after the
 * position and was not sent to this very connection. Then `resumed` is told, and live events follow without a gap or a doubled one. Where
 * that cannot be, `resync_required` says why, and how the thread stands. Throws `THREADLINE_THREAD_NOT_FOUND`. When the storage fails in the
 * middle, the connection is closed, and what would follow is not sent behind the gap: its client comes back for the rest.
 */
export async function resume (connection: Connection, position: Position, options: ResumeOptions): Promise<void> {
  const { membership, storage, greet, answer } = options
  const { threadId } = currentThread()
  await membership.enter(connection, async (hold): Promise<Entry> => {
    const state = await storage.threads.state(threadId)
    const { sequence } = state
    const reason = reasonToResync(position, state, storage)
    if (reason === undefined) {
      const told = connection.told(threadId) ?? { from: sequence, to: sequence }
      const tell = async (): Promise<void> => {
        greet?.(state)
        await tellMissed({ connection, hold, position, state, told }, options)
      }
      return { sequence, told, tell, failed: (err) => { connection.fail(err) } }
    }
    const resync = await resyncOf(reason, state, storage)
    const tell = (): void => {
      greet?.(state)
      answer('resync_required', resync)
    }
    return { sequence, tell }
  })
}

function reasonToResync ({ after, epoch }: Position, { sequence, keptAfter }: ThreadState, storage: Storage): Resync['reason'] | undefined {
  if (epoch !== storage.epoch) return 'epoch_changed'
  if (after > sequence) return 'position_unknown'
  return after < keptAfter ? 'position_expired' : undefined
}

async function tellMissed (returning: Returning, { subscriptions, storage, answer }: ResumeOptions): Promise<void> {
  const { connection, hold: { threadId }, position: { after }, state, told } = returning
  const { sequence } = state
  const { sent, outcome } = await sendMissed(returning, subscriptions)
  if (outcome === 'stopped') { // its client is gone, or the thread was deleted meanwhile
    if (connection.active) answer('error', toPublicError(new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')))
    return
  }
  if (outcome === 'expired') {
    const resync = await resyncOf('position_expired', state, storage)
    connection.stand(threadId, { from: sequence, to: sequence })
    return answer('resync_required', resync)
  }
  connection.stand(threadId, { from: after > told.to ? after : Math.min(after, told.from), to: sequence })
  answer('resumed', { after, replayed: sent, ...standingOf(state, storage) })
}

/** What the connection has been sent lies in the middle: what was missed came before it, or is still to be told. */
async function sendMissed ({ connection, hold, position: { after }, state: { sequence }, told }: Returning, subscriptions: Subscriptions): Promise<Replayed> {
  const before = await subscriptions.replay(connection, hold, { after, upTo: Math.min(told.from, sequence) })
  if (before.outcome !== 'complete') return before
  const behind = await subscriptions.replay(connection, hold, { after: Math.max(after, told.to), upTo: sequence })
  return { sent: before.sent + behind.sent, outcome: behind.outcome }
}

async function resyncOf (reason: Resync['reason'], state: ThreadState, storage: Storage): Promise<Resync> {
  return { reason, thread: state.thread, ...await recentMessages(storage), ...standingOf(state, storage) }
}

function standingOf ({ sequence, activeRuns }: ThreadState, { epoch }: Storage) {
  return { sequence, epoch, active_runs: [...activeRuns] }
}
