import fc from 'fast-check'
import t from 'tap'
import { MessageWindow } from '../../lib/gateway/message-window.ts'
import { reservedUserPrefix, toUserId } from '../../lib/protocol/ids.ts'

const [alice, bob] = [toUserId('alice'), toUserId('bob')]

/** A window over a clock that the test moves. */
function startWindow (limit: number, windowMs: number) {
  let time = 1_000_000
  return { window: new MessageWindow({ limit, windowMs, now: () => time }), pass: (ms: number) => { time += ms } }
}

t.test('H107 when the limit is reached one more is refused, until the oldest has left the window', async (t) => {
  const { window, pass } = startWindow(3, 1_000)

  t.equal(window.admit(alice), true)
  pass(400)
  t.same([window.admit(alice), window.admit(alice), window.admit(alice)], [true, true, false])
  pass(599)
  t.equal(window.admit(alice), false, 'the first is still in the window')
  pass(1)
  t.same([window.admit(alice), window.admit(alice)], [true, false], 'it slides: one has left, not all')
  pass(400)
  t.same([window.admit(alice), window.admit(alice), window.admit(alice)], [true, true, false])
})

t.test('a user of the service itself, as whom nobody can sign in, is not counted', async (t) => {
  const { window } = startWindow(1, 1_000)
  const own = toUserId(`${reservedUserPrefix}a`)

  t.same([window.admit(own), window.admit(own), window.admit(alice), window.admit(alice)], [true, true, true, false])
})

t.test('H107 what was refused is not counted', async (t) => {
  const { window, pass } = startWindow(1, 1_000)

  window.admit(alice)
  for (let attempt = 0; attempt < 100; attempt += 1) {
    pass(9)
    t.equal(window.admit(alice), false)
  }
  pass(100)

  t.equal(window.admit(alice), true)
})

// kill: #recent takes the times of the first user instead of this one's.
t.test('H106 one user\'s messages are not counted as another\'s', async (t) => {
  const { window } = startWindow(1, 1_000)

  t.same([window.admit(alice), window.admit(alice), window.admit(bob)], [true, false, true])
})

t.test('G99 who has sent nothing for a whole window is forgotten by the sweep, and nobody else', async (t) => {
  const { window, pass } = startWindow(2, 1_000)

  window.admit(alice)
  pass(500)
  window.admit(bob)
  pass(500)
  window.sweep()
  t.equal(window.size, 1)
  t.same([window.admit(bob), window.admit(bob)], [true, false], 'Bob\'s first is still counted')
  pass(1_000)
  window.sweep()

  t.equal(window.size, 0)
})

t.test('H107 whatever the rhythm, no window ever holds more than the limit, and nothing is refused that would have fitted', async (t) => {
  const step = fc.record({ user: fc.constantFrom(alice, bob), ms: fc.nat(60), sweep: fc.boolean() })

  fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (limit, steps) => {
    const { window, pass } = startWindow(limit, 100)
    const admitted: { readonly user: string, readonly at: number }[] = []
    let now = 0
    return steps.every(({ user, ms, sweep }) => {
      pass(ms)
      now += ms
      if (sweep) window.sweep()
      const recent = admitted.filter((one) => one.user === user && one.at > now - 100).length
      const isAdmitted = window.admit(user)
      if (isAdmitted) admitted.push({ user, at: now })
      return isAdmitted === recent < limit
    })
  }))
  t.pass()
})
