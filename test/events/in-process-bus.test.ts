import t from 'tap'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { holdBusContract } from './bus-contract.ts'

t.test('a bus within one process', async (t) => {
  holdBusContract(t, () => {
    const hub = createInProcessHub()
    return {
      open: (node, signer) => hub.node(node, { signer, logger: createSilentLogger() }),
      say: (_topic, text) => { hub.say(text) },
      interrupt: (bus) => { hub.cut(bus.node) },
      mend: (bus) => { hub.mend(bus.node) }
    }
  })
})
