import t, { type Test } from 'tap'
import { createSigner } from '../../lib/context/signature.ts'
import { createCompositeBus } from '../../lib/events/composite-bus.ts'
import type { EventBus } from '../../lib/events/event-bus.ts'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import { NodeClocks } from '../../lib/events/node-clocks.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { holdBusContract, proven, threadTopic, until } from './bus-contract.ts'

const signer = createSigner([Buffer.alloc(32)])

function stage () {
  const [fast, steady] = [createInProcessHub(), createInProcessHub()]
  const logger = createSilentLogger()
  return {
    fast,
    steady,
    open: (node: string, own = signer, clocks = new NodeClocks({ logger })): EventBus =>
      createCompositeBus({ fast: fast.node(node, { signer: own, logger, clocks }), steady: steady.node(node, { signer: own, logger, clocks }) })
  }
}

t.test('a fast bus beside a steady one', async (t) => {
  holdBusContract(t, () => {
    const { fast, open } = stage()
    return { open, say: (_topic, text) => { fast.say(text) }, interrupt: (bus) => { fast.cut(bus.node) }, mend: (bus) => { fast.mend(bus.node) } }
  })
})

t.test('the steady one of the two alone', async (t) => {
  holdBusContract(t, () => {
    const { fast, steady, open } = stage()
    return {
      open (node, own) {
        const clocks = new NodeClocks({ logger: createSilentLogger() })
        const bus = open(node, own, clocks)
        fast.cut(node)
        // the same, but for that it is known to be in doubt
        return Object.create(bus, { doubtful: { get: () => clocks.doubt.doubtful || (steadyDoubt.get(node) ?? false) } }) as EventBus
      },
      say: (_topic, text) => { steady.say(text) },
      interrupt (bus) { steadyDoubt.set(bus.node, true); steady.cut(bus.node) },
      mend (bus) { steadyDoubt.set(bus.node, false); steady.mend(bus.node) }
    }
  })
})

const steadyDoubt = new Map<string, boolean>()

// kill: publish always takes the fast one.
t.test('what a node tells goes by the steady one while it has lost the fast one, and by the fast one again when that is back', async (t: Test) => {
  const { fast, steady, open } = stage()
  const [one, two] = [open('one'), open('two')]
  t.teardown(async () => { await Promise.all([one.close(), two.close()]) })
  await proven(one)
  const topic = threadTopic('alice')
  const [byFast, bySteady] = [fast.node('fast watcher', { signer }), steady.node('steady watcher', { signer })]
  const told: string[] = []
  byFast.subscribe(topic, () => { told.push('fast') })
  bySteady.subscribe(topic, () => { told.push('steady') })
  two.subscribe(topic, () => { told.push('two') })
  const tell = async (): Promise<readonly string[]> => {
    told.length = 0
    one.publish(topic, { kind: 'events', sequence: 1 })
    await until(() => told.length === 2)
    return told.toSorted()
  }

  t.same(await tell(), ['fast', 'two'])
  fast.cut('one')
  t.equal(one.doubtful, true, 'nodes that have the fast one tell nothing by the other')
  t.same(await tell(), ['steady', 'two'])
  steady.cut('two')
  fast.mend('one')
  t.equal(one.doubtful, false)
  t.equal(two.doubtful, false, 'what comes by the fast one is heard')
  t.same(await tell(), ['fast', 'two'])
})
