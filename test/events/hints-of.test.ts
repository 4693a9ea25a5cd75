import t from 'tap'
import { hintsOf } from '../../lib/events/hints-of.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import { newEventId } from '../../lib/protocol/ids.ts'
import { newRun } from '../support/identities.ts'

const [hers, his] = [newRun('alice'), newRun('bob')]

const eventOf = (run: typeof hers, sequence: number): ThreadEvent => ({
  type: 'agent_thinking', event_id: newEventId(), timestamp: new Date().toISOString(), user_id: run.userId, thread_id: run.threadId, run_id: run.runId,
  request_id: run.requestId, payload: { message: 'hm', step: 0 }, sequence, epoch: 'epoch'
})

t.test('a batch gives one hint for each of its threads, on the topic of its owner, up to its last event', (t) => {
  const events = [eventOf(hers, 4), eventOf(his, 1), eventOf(hers, 5)]

  const hints = hintsOf(events)

  t.same(hints.map(({ topic }) => topic), [hers, his].map(({ userId, threadId }) => ({ kind: 'thread', userId, threadId })))
  t.same(hints.map(({ hint }) => hint), [
    { kind: 'events', sequence: 5, events: [events[0], events[2]] }, { kind: 'events', sequence: 1, events: [events[1]] }
  ])
  t.end()
})

t.test('an event that was stored before has its old place; the hint carries only what follows each other up to the end', (t) => {
  // kill: let `endOf` of lib/events/hints-of.ts give back all events
  const events = [eventOf(hers, 9), eventOf(hers, 2), eventOf(hers, 8)]

  const [one] = hintsOf(events)

  t.same(one?.hint, { kind: 'events', sequence: 9, events: [events[2], events[0]] })
  t.same(hintsOf([]), [])
  t.end()
})
