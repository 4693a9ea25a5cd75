import t from 'tap'
import { ConnectionLife, type ConnectionState } from '../../lib/gateway/connection-state.ts'

const states: readonly ConnectionState[] = ['connecting', 'open', 'closing', 'closed', 'failed']

/** How to get to a state from the first one. */
const ways: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  connecting: [], open: ['open'], closing: ['open', 'closing'], closed: ['closed'], failed: ['failed']
}
const allowed: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  connecting: ['open', 'closing', 'closed', 'failed'],
  open: ['closing', 'closed', 'failed'],
  closing: ['closed'],
  closed: [],
  failed: ['connecting']
}

function lifeIn (state: ConnectionState): ConnectionLife {
  const life = new ConnectionLife()
  for (const step of ways[state]) life.move(step)
  return life
}

t.test('H108 a transition that is not allowed gives false and changes nothing; an allowed one happens', async (t) => {
  for (const from of states) {
    for (const to of states) {
      const life = lifeIn(from)
      t.equal(life.state, from)
      t.equal(life.move(to), allowed[from].includes(to), `${from} → ${to}`)
      t.equal(life.state, allowed[from].includes(to) ? to : from, `after ${from} → ${to}`)
    }
  }
})

t.test('H108 from failed only connecting is possible, and then everything again', async (t) => {
  const life = lifeIn('failed')

  t.same(states.filter((state) => lifeIn('failed').move(state)), ['connecting'])
  t.equal(life.move('connecting'), true)
  t.equal(life.move('open'), true)
})

t.test('H108 what is closed is closed for good', async (t) => {
  const life = lifeIn('closed')

  t.same(states.filter((state) => life.move(state)), [])
})
