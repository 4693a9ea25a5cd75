import t from 'tap'
import { closeCodes, mayReconnect, type CloseReason } from '../../lib/protocol/close-codes.ts'

t.test('each reason to close has a code of its own that a server may send, and a word that fits into a close frame', async (t) => {
  const codes = Object.values(closeCodes)

  t.equal(new Set(codes).size, codes.length)
  for (const [reason, code] of Object.entries(closeCodes)) {
    t.ok(code === 1001 || (code >= 4000 && code <= 4999), `${reason}: RFC 6455, section 7.4`)
    t.ok(Buffer.byteLength(reason) <= 123, `${reason}: RFC 6455, section 5.5`)
  }
})

t.test('the codes are contract', async (t) => {
  t.strictSame(closeCodes, {
    drain: 1001, badFrame: 4400, notAuthenticated: 4401, idle: 4408, replaced: 4409, tooLarge: 4413, limits: 4429,
    internal: 4500, notReady: 4503, slowConsumer: 4508
  })
})

t.test('G97 a client connects again but after the codes that tell it to change something first', async (t) => {
  const final: readonly CloseReason[] = ['badFrame', 'notAuthenticated', 'idle', 'replaced', 'tooLarge', 'limits']

  for (const [reason, code] of Object.entries(closeCodes)) t.equal(mayReconnect(code), !final.some((one) => one === reason), reason)
  for (const code of [1000, 1005, 1006, 1011, 4399, 4500, 4999]) t.equal(mayReconnect(code), true, String(code))
  for (const code of [4400, 4450, 4499]) t.equal(mayReconnect(code), false, String(code))
})
