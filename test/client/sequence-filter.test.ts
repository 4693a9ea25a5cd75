import t from 'tap'
import fc from 'fast-check'
import { SequenceFilter } from '../../client/sequence-filter.ts'
import type { ThreadId } from '../../lib/protocol/ids.ts'
import { uuid } from '../support/scripted-server.ts'

const thread = (number: number): ThreadId => uuid(number) as ThreadId // made by the test
const at = (sequence: number, threadId = thread(1), epoch = 'first'): Parameters<SequenceFilter['admit']>[0] =>
  ({ thread_id: threadId, sequence, epoch })

t.test('each sequence of a thread is admitted once, in whatever order it arrives', async (t) => {
  const arrivals = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 120 })
  const property = fc.property(arrivals, (sequences) => {
    const filter = new SequenceFilter()
    const admitted = sequences.filter((sequence) => filter.admit(at(sequence)))
    return admitted.length === new Set(sequences).size && new Set(admitted).size === admitted.length
  })

  t.doesNotThrow(() => { fc.assert(property) })
})

t.test('threads and epochs number their events independently', async (t) => {
  const filter = new SequenceFilter()

  t.equal(filter.admit(at(1)), true)
  t.equal(filter.admit(at(1, thread(2))), true)
  t.equal(filter.admit(at(1)), false)
  t.equal(filter.admit(at(1, thread(1), 'second')), true)
  t.equal(filter.admit(at(1, thread(1), 'second')), false)
})

t.test('an event without a place in a thread is always admitted', async (t) => {
  const filter = new SequenceFilter()
  const pong = { thread_id: null } as const

  t.equal(filter.admit(pong), true)
  t.equal(filter.admit(pong), true)
  t.equal(filter.admit({ thread_id: thread(1) }), true)
})

t.test('it says how many events a thread got meanwhile, and that it does not know after a new epoch', async (t) => {
  const filter = new SequenceFilter()

  t.equal(filter.moveTo(thread(1), { sequence: 4, epoch: 'first' }), null)
  filter.admit(at(5))
  t.equal(filter.moveTo(thread(1), { sequence: 5, epoch: 'first' }), 0)
  t.equal(filter.moveTo(thread(1), { sequence: 9, epoch: 'first' }), 4)
  t.equal(filter.moveTo(thread(1), { sequence: 2, epoch: 'second' }), null)
  t.equal(filter.moveTo(thread(1), { sequence: 3, epoch: 'second' }), 1)
})

t.test('what it remembers is bounded: the thread used longest ago is forgotten first', async (t) => {
  const filter = new SequenceFilter()
  for (let number = 1; number <= 256; number++) filter.admit(at(1, thread(number)))

  filter.admit(at(2, thread(1)))
  filter.admit(at(1, thread(257)))

  t.equal(filter.admit(at(1, thread(1))), false, 'used again, so kept')
  t.equal(filter.admit(at(1, thread(2))), true, 'forgotten, so told twice and not lost')
})
