import t from 'tap'
import { NodeClocks } from '../../lib/events/node-clocks.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { until } from './bus-contract.ts'

const now = Date.UTC(2030, 0, 1)
const late = (from: string) => ({ from, at: now - 90_000 })

// kill: no comparison with `warnMs` in `#warn` of lib/events/node-clocks.ts
t.test('a clock that is apart is named once, however much is refused and of how many', async (t) => {
  const logger = createSilentLogger()
  const clocks = new NodeClocks({ logger })

  for (let refusal = 0; refusal < 50; refusal += 1) clocks.refused(late(`node ${refusal % 3}`), now)

  t.match(logger.lines, [{
    level: 'warn', fields: { from: 'node 0', its_clock: '2029-12-31T23:58:30.000Z', own_clock: '2030-01-01T00:00:00.000Z', apart_ms: 90_000 }, message: /doctor/
  }])
  t.equal(logger.lines.length, 1)
})

// kill: `heard` of lib/events/node-clocks.ts forgets all nodes.
t.test('there is doubt until each node that was refused is heard again', async (t) => {
  const clocks = new NodeClocks({ logger: createSilentLogger(), settleMs: 0 })
  const told: boolean[] = []
  clocks.doubt.on(() => { told.push(clocks.doubt.doubtful) })
  clocks.refused(late('one'), now)
  clocks.refused(late('two'), now)

  clocks.heard('three')
  clocks.heard('one')
  t.equal(clocks.doubt.doubtful, true)
  clocks.heard('two')

  t.equal(clocks.doubt.doubtful, false)
  t.same(told, [true, false])
})

// kill: no comparison with `settleMs` in `heard` of lib/events/node-clocks.ts
t.test('old signals among good ones do not tell everybody to look again and again', async (t) => {
  const clocks = new NodeClocks({ logger: createSilentLogger() })
  let told = 0
  clocks.doubt.on(() => { told += 1 })

  for (let round = 0; round < 100; round += 1) {
    clocks.refused(late('one'), now)
    clocks.heard('one')
  }

  t.equal(told, 1)
  t.equal(clocks.doubt.doubtful, true)
})

// kill: no `#forgetLater` in `refused` of lib/events/node-clocks.ts
t.test('a node of which nothing more comes is doubted no longer', async (t) => {
  const logger = createSilentLogger()
  const clocks = new NodeClocks({ logger, forgetMs: 20 })
  const waiting = setInterval(() => undefined, 1_000) // what forgets keeps no process
  t.teardown(() => { clearInterval(waiting) })

  clocks.refused(late('one'), now)
  t.equal(clocks.doubt.doubtful, true)
  await until(() => !clocks.doubt.doubtful)

  t.match(logger.lines.map(({ level }) => level), ['warn', 'info'])
})
