import t from 'tap'
import { spanOf } from '../../testing/span-of.ts'
import { verify } from '../../verify/verify.ts'
import { startServer } from '../support/start-server.ts'

t.test('what two users do at once leaves clean traces', async (t) => {
  const server = await startServer(t)
  const alice = await server.connect('alice')
  const bob = await server.connect('bob')

  await Promise.all([alice.chat('hello'), bob.chat('what is 12 * 7?')])
  await server.close()

  const { verdict, findings, traces } = verify(server.spans.spans().map(spanOf), { nowMs: Date.now() + 60_000 })
  t.same(findings, [])
  t.equal(verdict, 'clean')
  t.ok(traces.clean >= 4, 'the handshakes and the messages')
})
