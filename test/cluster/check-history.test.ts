import t from 'tap'
import { checkHistory, type ViolationKind } from '../support/cluster/check-history.ts'
import { markerOf, type History } from '../support/cluster/history.ts'
import { makeHistory, type Changeable } from '../support/cluster/made-history.ts'

type Planted = Changeable<History>
type Log = Planted['threads'][number]['events']

t.test('a history without faults has no violation', async (t) => {
  const history = makeHistory()

  t.same(checkHistory(history), [])
  t.ok(history.clients.every(({ connections }) => connections.flatMap(({ received }) => received).length > 15), 'there is something to check')
})

interface Plant {
  readonly title: string
  readonly kinds: readonly ViolationKind[]
  readonly plant: (history: Planted) => void
}

const thread = (history: Planted) => the(history.threads[0])
const log = (history: Planted): Log => thread(history).events
const steady = (history: Planted) => the(history.clients[0])
const returning = (history: Planted) => the(history.clients[1])
const told = (history: Planted) => the(steady(history).connections[0]).received
const resumed = (history: Planted) => the(returning(history).connections[1]).received
const event = (history: Planted, type: string, skip = 0) => the(log(history).filter((event) => event.type === type)[skip])

const plants: readonly Plant[] = [
  {
    title: 'a message that was accepted and is not kept',
    kinds: ['lost-message'],
    plant: (history) => { thread(history).messages = thread(history).messages.filter(({ message_id: id }) => id !== the(thread(history).runs[0]).messageId) }
  },
  {
    title: 'a message that was accepted and has no run',
    kinds: ['lost-message', 'unknown-run'],
    plant: (history) => { thread(history).runs.pop() }
  },
  {
    title: 'a message that is kept twice',
    kinds: ['doubled-message', 'lost-message'],
    plant: (history) => { thread(history).messages.push({ ...the(thread(history).messages[0]), message_id: 'another' }) }
  },
  {
    title: 'a message with two runs',
    kinds: ['doubled-message', 'run-without-one-end'],
    plant: (history) => { thread(history).runs.push({ ...the(thread(history).runs[0]), runId: 'another' }) }
  },
  {
    title: 'a message that nobody has sent',
    kinds: ['unknown-message'],
    plant: (history) => { steady(history).sent.pop() }
  },
  {
    title: 'a retried message that was accepted as another one',
    kinds: ['accepted-differently'],
    plant: (history) => { the(the(steady(history).sent[1]).answers[1]).messageId = 'another' }
  },
  {
    title: 'a retried message that was accepted for the first time twice',
    kinds: ['accepted-differently'],
    plant: (history) => { the(the(steady(history).sent[1]).answers[1]).duplicate = false }
  },
  {
    title: 'a message that is kept with the words of another',
    kinds: ['crossed', 'doubled-message', 'unanswered'],
    plant: (history) => { the(thread(history).messages[0]).content = the(thread(history).messages[2]).content }
  },
  {
    title: 'a log with a gap',
    kinds: ['gap', 'told-beyond'],
    plant: (history) => { log(history).splice(1, 1) }
  },
  {
    title: 'a sequence that is there twice',
    kinds: ['doubled-sequence', 'told-otherwise'],
    plant: (history) => { log(history).splice(2, 0, { ...the(log(history)[1]), event_id: crypto.randomUUID() as never }) }
  },
  {
    title: 'two sequences that have changed places',
    kinds: ['broken-story', 'gap', 'inversion'],
    plant: (history) => { log(history).splice(0, 2, the(log(history)[1]), the(log(history)[0])) }
  },
  {
    title: 'an event of another user',
    kinds: ['crossed', 'told-otherwise'],
    plant: (history) => { event(history, 'agent_thinking').user_id = 'bob' as never }
  },
  {
    title: 'a run that says what another run of the thread was asked',
    kinds: ['crossed', 'told-otherwise'],
    plant: (history) => { event(history, 'tool_completed').payload = { ...event(history, 'tool_completed').payload, result: markerOf('alice', thread(history).threadId, 1) } as never }
  },
  {
    title: 'a run that says what another user was asked',
    kinds: ['crossed', 'told-crossed', 'told-otherwise'],
    plant: (history) => {
      const words = { message: markerOf('bob', the(history.threads[1]).threadId, 0), step: 0 }
      event(history, 'agent_thinking').payload = words
      the(the(told(history).find(({ event: { type } }) => type === 'agent_thinking')).event).payload = words
    }
  },
  {
    title: 'a run without an end',
    kinds: ['run-without-one-end'],
    plant: (history) => { cut(history, 1) }
  },
  {
    title: 'a run with two ends',
    kinds: ['run-without-one-end', 'broken-story', 'told-too-little'],
    plant: (history) => { log(history).push({ ...the(log(history).at(-1)), sequence: log(history).length + 1 }) }
  },
  {
    title: 'a run that ended otherwise than it is kept',
    kinds: ['run-without-one-end'],
    plant: (history) => { the(thread(history).runs[0]).status = 'failed' }
  },
  {
    title: 'a tool call that is never completed',
    kinds: ['broken-story', 'told-otherwise'],
    plant: (history) => { Object.assign(event(history, 'tool_completed'), { type: 'agent_thinking', payload: { message: '', step: 0 } }) }
  },
  {
    title: 'a tool call that is announced again when its run goes on',
    kinds: ['broken-story', 'text-differs', 'told-otherwise'],
    plant: (history) => { Object.assign(event(history, 'agent_resumed'), { type: 'tool_executing', payload: event(history, 'tool_executing', 1).payload }) }
  },
  {
    title: 'a run that starts again when it goes on',
    kinds: ['broken-story', 'text-differs', 'told-otherwise'],
    plant: (history) => { Object.assign(event(history, 'agent_resumed'), { type: 'agent_started', payload: event(history, 'agent_started', 1).payload }) }
  },
  {
    title: 'an answer that is not what the run has told',
    kinds: ['text-differs', 'told-otherwise'],
    plant: (history) => { Object.assign(event(history, 'agent_delta').payload, { text: 'Not heard ' }) }
  },
  {
    title: 'an answer that also has what was void since the run went on',
    kinds: ['text-differs', 'told-otherwise'],
    plant: (history) => { Object.assign(event(history, 'agent_resumed'), { type: 'agent_thinking', payload: { message: '', step: 0 } }) }
  },
  {
    title: 'an answer that is kept otherwise than it was told',
    kinds: ['text-differs'],
    plant: (history) => { the(thread(history).messages[1]).content += ' and more' }
  },
  {
    title: 'an answer to nothing',
    kinds: ['unanswered', 'text-differs', 'told-otherwise'],
    plant: (history) => { Object.assign(event(history, 'agent_completed').payload, { content: 'What?' }) }
  },
  {
    title: 'a client that was not told an event in the middle',
    kinds: ['told-gap', 'told-too-little'],
    plant: (history) => { told(history).splice(4, 1) }
  },
  {
    title: 'a client that was told an event twice',
    kinds: ['told-twice'],
    plant: (history) => { told(history).splice(4, 0, the(told(history)[3])) }
  },
  {
    title: 'a client that was told two events in the wrong order',
    kinds: ['told-gap', 'told-inversion'],
    plant: (history) => { told(history).splice(3, 2, the(told(history)[4]), the(told(history)[3])) }
  },
  {
    title: 'a client that was told an event otherwise than it is kept',
    kinds: ['told-otherwise'],
    plant: (history) => { the(told(history)[4]).event.event_id = crypto.randomUUID() as never }
  },
  {
    title: 'a client that was told what was never kept',
    kinds: ['told-beyond'],
    plant: (history) => {
      const { event } = the(told(history).at(-1))
      told(history).push({ atMs: 0, event: { ...event, sequence: (event.sequence ?? 0) + 1 } })
    }
  },
  {
    title: 'a client that was told something of another user',
    kinds: ['told-crossed'],
    plant: (history) => { the(told(history)[0]).event.user_id = 'bob' as never }
  },
  {
    title: 'a client that came back and was not told what it had missed',
    kinds: ['told-gap', 'told-too-little'],
    plant: (history) => { resumed(history).splice(1, 4) }
  },
  {
    title: 'a client that came back and was told again what it knew',
    kinds: ['told-inversion'],
    plant: (history) => { resumed(history).splice(1, 0, { atMs: 0, event: { ...the(log(history)[2]), replayed: true } }) }
  },
  {
    title: 'a client that stayed to the end and was not told the end',
    kinds: ['told-too-little'],
    plant: (history) => { told(history).pop() }
  },
  {
    title: 'a client that was told to begin anew',
    kinds: ['told-anew'],
    plant: (history) => { Object.assign(the(told(history)[0]).event, { type: 'resync_required' }) }
  }
]

t.test('each planted violation is found, and called what it is', async (t) => {
  for (const { title, kinds, plant } of plants) {
    const history = makeHistory()

    plant(history)
    const found = new Set(checkHistory(history).map(({ kind }) => kind))

    t.same([...found].toSorted(), kinds.toSorted(), title)
  }
})

t.test('a client that left before the end need not know what came then', async (t) => {
  const history = makeHistory()
  told(history).pop()

  steady(history).toTheEnd = false

  t.same(checkHistory(history), [])
})

t.test('a message that was never answered may be there, once, or not', async (t) => {
  const history = makeHistory()

  the(steady(history).sent[1]).answers = []
  steady(history).sent.push({ id: 'alice 9', content: markerOf('alice', thread(history).threadId, 9), answers: [] })

  t.same(checkHistory(history), [])
})

/** Takes the last events away, from the log and from whoever was told them. */
function cut (history: Planted, count: number): void {
  const from = log(history).length - count
  log(history).splice(from)
  for (const client of [steady(history), returning(history)]) {
    for (const connection of client.connections) {
      connection.received = connection.received.filter(({ event: { sequence } }) => sequence === undefined || sequence <= from)
    }
  }
}

function the<T> (value: T | undefined): T {
  if (value === undefined) throw new Error('It is not there')
  return value
}
