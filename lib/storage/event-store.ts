import { sql, type RawBuilder } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import type { NewThreadEvent, PayloadOf, ThreadEvent } from '../protocol/events.ts'
import { toThreadId, toUserId, type ThreadId } from '../protocol/ids.ts'
import type { Appended, AppendedEvent, EventStore, ThreadKey } from '../stores/event-store.ts'
import type { RunStep } from '../stores/run-step.ts'
import { ownThread } from './own-thread.ts'
import { nearestStorableText } from './storable-text.ts'
import { isLockTimeout } from './storage-error.ts'
import { query } from './tables.ts'
import { onlyRow } from './thread-view.ts'
import type { UnitsOfWork } from './unit-of-work.ts'

interface AppendedRow {
  readonly item: number
  readonly sequence: number | null
  readonly refused: 'thread-not-found' | 'run-not-active' | null
}

// In ms: how long a thread that somebody has locked is waited for by all of a batch, and then once more by its own events.
const [lockTimeoutMs, oneLockTimeoutMs] = [1_000, 100]

/** The log of each thread. Both positions and order are the database's, in `threadline.append_events`. */
export function createEventStore (units: UnitsOfWork, epoch: string, batchesAtOnce = 1): EventStore {
  return {
    batchesAtOnce,

    async append (batch) {
      if (batch.length === 0) return []
      try {
        return await appendTogether(units, batch, lockTimeoutMs)
      } catch (error) {
        if (!isLockTimeout(error)) throw error
        return await appendApart(units, batch)
      }
    },

    read: async (threadId, after, limit) => await units.asUser(async (unit) => {
      // What is still kept is asked after the events were read: a purge in between is noticed then.
      const [rows, kept] = await Promise.all([
        unit.rows(eventsAfter(threadId, after, limit)), unit.lastRows(ownThread(threadId).select('kept_after'))
      ])
      if (after < onlyRow(kept).kept_after) return 'expired'
      return rows.map(({ sequence, user_id: userId, body }) => {
        guard({ userId: toUserId(userId) }, 'storage')
        const event = body as unknown as NewThreadEvent // only `append` writes it
        return { ...event, sequence, epoch } satisfies ThreadEvent
      })
    }),

    async positions (threads) {
      if (threads.length === 0) return new Map()
      const rows = await units.asSystem(async (unit) => await unit.lastRows(positionsOf(threads)))
      return new Map(rows.map((row) => [toThreadId(row.thread_id), { userId: toUserId(row.user_id), sequence: row.last_sequence }]))
    }
  }
}

async function appendTogether (units: UnitsOfWork, batch: readonly AppendedEvent[], lockTimeoutMs: number): Promise<readonly Appended[]> {
  const items = itemsOf(batch)
  const rows = await units.asOwners(async (unit) => await unit.lastRows(appending(batch, items)), { lockTimeoutMs })
  const appended = new Map(rows.map((row) => [row.item, toAppended(row)]))
  return batch.map(({ event }) => appended.get(items.get(keyOf(event))?.item ?? -1) ?? { refused: 'run-not-active' })
}

/**
 * Thread by thread, so that one that somebody has locked keeps nothing of the others back. Should it fail in the middle, what is stored
 * is known when it comes again.
 */
async function appendApart (units: UnitsOfWork, batch: readonly AppendedEvent[]): Promise<readonly Appended[]> {
  const outcomes = new Map<AppendedEvent, Appended>()
  for (const part of Map.groupBy(batch, ({ event }) => event.thread_id).values()) {
    const appended = await appendTogether(units, part, oneLockTimeoutMs).catch((error: unknown) => {
      if (!isLockTimeout(error)) throw error
      return part.map((): Appended => ({ refused: 'thread-locked' }))
    })
    for (const [index, one] of part.entries()) outcomes.set(one, appended[index] ?? { refused: 'thread-locked' })
  }
  return batch.map((one) => outcomes.get(one) ?? { refused: 'thread-locked' })
}

/** The append itself: within a unit that names no user, or that of the batch's only one. */
export function appending (batch: readonly AppendedEvent[], items = itemsOf(batch)): RawBuilder<AppendedRow> {
  const events = JSON.stringify([...items.values()])
  const steps = batch.flatMap(({ event, step }) => step === undefined ? [] : [toStep(step, items.get(keyOf(event))?.item ?? -1)])
  return steps.length === 0
    ? sql<AppendedRow>`select * from threadline.append_events(${events})`
    : sql<AppendedRow>`select * from threadline.append_events(${events}, ${JSON.stringify(steps)})`
}

function positionsOf (threads: readonly ThreadKey[]) {
  return sql<{ thread_id: string, user_id: string, last_sequence: number }>`
    select t.thread_id, t.user_id, t.last_sequence
    from unnest(${threads.map(({ threadId }) => threadId)}::uuid[], ${threads.map(({ userId }) => userId)}::text[]) f (thread_id, user_id)
    join threadline.threads t on t.thread_id = f.thread_id and t.user_id = f.user_id and t.deleted_at is null`
}

function eventsAfter (threadId: ThreadId, after: number, limit: number) {
  return query.selectFrom('run_events').select(['sequence', 'user_id', 'body'])
    .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId)
    .where('sequence', '>', after).orderBy('sequence').limit(limit)
}

// An event that stands in the batch twice is sent once, and both places have the same answer.
function itemsOf (batch: readonly AppendedEvent[]): ReadonlyMap<string, ReturnType<typeof toItem>> {
  const items = new Map<string, ReturnType<typeof toItem>>()
  for (const { event, attempt } of batch) {
    const key = keyOf(event)
    if (!items.has(key)) items.set(key, toItem({ event, attempt }, items.size))
  }
  return items
}

const keyOf = (event: NewThreadEvent): string => `${event.thread_id} ${event.event_id} ${event.user_id}`

// The event itself travels and is kept as text, so that it comes back as it was, zero characters and halves of emoji included.
function toItem ({ event, attempt }: AppendedEvent, item: number) {
  return {
    item,
    user_id: event.user_id,
    thread_id: event.thread_id,
    run_id: event.run_id,
    event_id: event.event_id,
    type: event.type,
    attempt,
    body: JSON.stringify(event),
    ...(event.type === 'agent_completed' ? ending(event as NewThreadEvent<'agent_completed'>) : {}) // by its type
  }
}

/** Its body travels and is kept as the events are. */
function toStep ({ key, body }: RunStep, item: number) {
  return { item, key: nearestStorableText(key), body: JSON.stringify(body) ?? 'null' }
}

function ending ({ payload }: { payload: PayloadOf<'agent_completed'> }) {
  const rolledBack = payload.reason === 'rolled_back'
  return {
    outcome: payload.status,
    error: rolledBack ? 'rolled_back' : payload.status === 'completed' ? null : reasonOf(payload),
    rolled_back: rolledBack,
    message_id: payload.message_id ?? null,
    content: payload.content === undefined ? null : nearestStorableText(payload.content),
    ...usageOf(payload)
  }
}

function reasonOf ({ error, reason }: PayloadOf<'agent_completed'>): string | null {
  const text = error?.code ?? reason
  return text === undefined ? null : nearestStorableText(text)
}

function usageOf ({ usage }: PayloadOf<'agent_completed'>) {
  const [input, output] = [tokens(usage?.input_tokens), tokens(usage?.output_tokens)]
  if (input + output === 0) return { model: null }
  return { model: nearestStorableText(usage?.model ?? 'unknown'), input_tokens: input, output_tokens: output }
}

// A provider's word is not trusted to be a count.
function tokens (count: number | undefined): number {
  return count !== undefined && Number.isSafeInteger(Math.round(count)) ? Math.max(0, Math.round(count)) : 0
}

function toAppended ({ sequence, refused }: AppendedRow): Appended {
  if (sequence !== null) return { sequence }
  return { refused: refused ?? 'run-not-active' }
}
