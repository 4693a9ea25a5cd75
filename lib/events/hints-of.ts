import type { ThreadEvent } from '../protocol/events.ts'
import type { Hint, Topic } from './event-bus.ts'

/** One for each thread that a batch has stored events of, which follow each other: a thread is written by one transaction at a time. */
export function hintsOf (stored: readonly ThreadEvent[]): ReadonlyArray<{ readonly topic: Topic, readonly hint: Hint }> {
  return [...Map.groupBy(stored, ({ thread_id: threadId }) => threadId).values()].flatMap((events) => {
    const inOrder = events.toSorted((one, other) => one.sequence - other.sequence)
    const last = inOrder.at(-1)
    if (last === undefined) return []
    const topic: Topic = { kind: 'thread', userId: last.user_id, threadId: last.thread_id }
    return { topic, hint: { kind: 'events', sequence: last.sequence, events: endOf(inOrder) } as const }
  })
}

// What was stored before has its first place, and may leave a gap behind it.
function endOf (events: readonly ThreadEvent[]): readonly ThreadEvent[] {
  const first = events.findLastIndex((event, index) => event.sequence !== (events[index - 1]?.sequence ?? Number.NaN) + 1)
  return events.slice(Math.max(first, 0))
}
