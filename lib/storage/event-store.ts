import { sql } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import type { NewThreadEvent, PayloadOf, ThreadEvent } from '../protocol/events.ts'
import { toUserId } from '../protocol/ids.ts'
import { nearestStorableText } from './storable-text.ts'
import type { Appended, AppendedEvent, EventStore } from './storage.ts'
import { query } from './tables.ts'
import { requireThread } from './thread-store.ts'
import type { UnitsOfWork } from './unit-of-work.ts'

interface AppendedRow {
  readonly item: number
  readonly sequence: number | null
  readonly refused: 'thread-not-found' | 'run-not-active' | null
}

/** The log of each thread. Both positions and order are the database's, in `threadline.append_events`. */
export function createEventStore (units: UnitsOfWork, epoch: string): EventStore {
  return {
    async append (batch) {
      if (batch.length === 0) return []
      const items = itemsOf(batch)
      const call = sql<AppendedRow>`select * from threadline.append_events(${JSON.stringify([...items.values()])})`
      const rows = await units.asOwners(async (unit) => await unit.lastRows(call))
      const appended = new Map(rows.map((row) => [row.item, toAppended(row)]))
      return batch.map(({ event }) => appended.get(items.get(keyOf(event))?.item ?? -1) ?? { refused: 'run-not-active' })
    },

    read: async (threadId, after, limit) => await units.asUser(async (unit) => {
      await requireThread(unit, threadId)
      const rows = await unit.lastRows(query.selectFrom('run_events').select(['sequence', 'user_id', 'body'])
        .where('thread_id', '=', threadId).where('user_id', '=', currentIdentity().userId)
        .where('sequence', '>', after).orderBy('sequence').limit(limit))
      return rows.map(({ sequence, user_id: userId, body }) => {
        guard({ userId: toUserId(userId) }, 'storage')
        const event = body as unknown as NewThreadEvent // only `append` writes it
        return { ...event, sequence, epoch } satisfies ThreadEvent
      })
    })
  }
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

function ending ({ payload }: { payload: PayloadOf<'agent_completed'> }) {
  return {
    outcome: payload.status,
    error: payload.status === 'completed' ? null : reasonOf(payload),
    message_id: payload.message_id ?? null,
    content: payload.content === undefined ? null : nearestStorableText(payload.content)
  }
}

function reasonOf ({ error, reason }: PayloadOf<'agent_completed'>): string | null {
  const text = error?.code ?? reason
  return text === undefined ? null : nearestStorableText(text)
}

function toAppended ({ sequence, refused }: AppendedRow): Appended {
  if (sequence !== null) return { sequence }
  return { refused: refused ?? 'run-not-active' }
}
