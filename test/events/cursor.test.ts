import t from 'tap'
import { Cursor } from '../../lib/events/cursor.ts'
import { newRun } from '../support/identities.ts'

const { userId: alice } = newRun('alice')

const taken = (cursor: Cursor, sequences: readonly number[]): readonly number[] => sequences.filter((sequence) => cursor.take(sequence))

t.test('an event is taken when it is the next one; one that came before, or leaves a gap, is not', (t) => {
  // kill: no comparison in `take` of lib/events/cursor.ts
  const cursor = new Cursor()
  cursor.stand(4)

  t.same(taken(cursor, [3, 4, 6, 5, 5, 7, 6]), [5, 6])
  t.equal(cursor.position, 6)
  t.end()
})

t.test('where no position is known, whatever comes is the next one', (t) => {
  const cursor = new Cursor()

  t.same(taken(cursor, [9, 8, 10]), [9, 10])
  t.end()
})

t.test('it is behind while the log reaches further than what was told, and only where a position is known', (t) => {
  const cursor = new Cursor()

  cursor.reach(alice, 7)
  const unknown = cursor.isBehind
  cursor.stand(5)
  const behind = cursor.isBehind
  cursor.reach(alice, 6)
  const told = taken(cursor, [6, 7])

  t.same([unknown, behind, cursor.reader, cursor.target], [false, true, alice, 7], 'what is less says nothing')
  t.same([told, cursor.isBehind], [[6, 7], false])
  t.end()
})

t.test('a position that was assumed gives way to a follower who knows less, until something was told', (t) => {
  // kill: no `#isAssumed` in `stand` of lib/events/cursor.ts
  const [assumed, told, known] = [new Cursor(), new Cursor(), new Cursor()]
  for (const cursor of [assumed, told]) cursor.assume(10)
  known.stand(10)
  told.take(11)

  for (const cursor of [assumed, told, known]) cursor.stand(8)
  assumed.stand(6)

  t.same([assumed, told, known].map(({ position }) => position), [8, 11, 10])
  t.end()
})

t.test('what is found or begun changes nothing where a position is known', (t) => {
  const [known, unknown] = [new Cursor(), new Cursor()]
  known.stand(3)

  known.assume(9)
  known.begin(9)
  unknown.begin(9)

  t.same([known.position, unknown.position], [3, 9])
  t.end()
})

t.test('what cannot be told any more is skipped, never backwards; what is not to be had is given up', (t) => {
  const cursor = new Cursor()
  cursor.stand(3)
  cursor.reach(alice, 20)

  cursor.skipTo(12)
  cursor.skipTo(5)
  const skipped = cursor.position
  const behind = cursor.isBehind
  cursor.giveUp()

  t.same([skipped, behind], [12, true])
  t.same([cursor.position, cursor.isBehind], [12, false])
  t.end()
})
