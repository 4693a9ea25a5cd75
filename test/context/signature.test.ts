import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { refuseCarrier, signCarrier, type RunCarrier } from '../../lib/context/carrier.ts'
import { createSigner, deriveKey } from '../../lib/context/signature.ts'
import { newConnectionId, newRequestId, newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'

const key = randomBytes(32)
const signer = createSigner([key])
const minute = 60_000

t.test('what was signed is good until its time is over', async (t) => {
  let now = 1_000_000
  const clocked = createSigner([key], () => now)
  const signature = clocked.sign('run', ['ann', null], minute)

  t.equal(clocked.refuse('run', ['ann', null], signature), undefined)
  t.equal(clocked.refuse('run', ['ann', undefined], signature), undefined, 'null and undefined are the same nothing')
  now += minute + 1_000
  t.equal(clocked.refuse('run', ['ann', null], signature), 'expired')
})

t.test('any other field, order or number of fields is a forgery', async () => {
  const fields = fc.array(fc.option(fc.string(), { nil: null }), { maxLength: 6 })
  fc.assert(fc.property(fields, fields, (signed, claimed) => {
    const signature = signer.sign('run', signed, minute)
    const same = JSON.stringify(signed) === JSON.stringify(claimed)
    return signer.refuse('run', claimed, signature) === (same ? undefined : 'forged')
  }))
})

t.test('each way to be wrong has its name', async (t) => {
  const signature = signer.sign('run', ['ann'], minute)
  const [version, audience, keyId, expires, mac] = signature.split('.')

  t.equal(signer.refuse('run', ['ann'], undefined), 'missing')
  t.equal(signer.refuse('run', ['ann'], null), 'missing')
  t.equal(signer.refuse('run', ['ann'], ''), 'missing')
  for (const odd of ['v1', 'x'.repeat(10_000), `${signature}x`, `v2.${signature.slice(3)}`, '../../etc', '\u0000']) {
    t.equal(signer.refuse('run', ['ann'], odd), 'malformed', JSON.stringify(odd.slice(0, 20)))
  }
  t.equal(signer.refuse('bus', ['ann'], signature), 'foreign', 'made for something else')
  t.equal(createSigner([randomBytes(32)]).refuse('run', ['ann'], signature), 'foreign', 'made with another key')
  t.equal(signer.refuse('run', ['ann'], [version, audience, keyId, Number(expires) + 3_600, mac].join('.')), 'forged', 'a longer life')
  t.equal(signer.refuse('bus', ['ann'], signature.replace('.run.', '.bus.')), 'forged', 'another purpose')
})

t.test('a key can be changed while nodes with the old one still run', async (t) => {
  const next = randomBytes(32)
  const [old, both, only] = [createSigner([key]), createSigner([next, key]), createSigner([next])]

  t.equal(both.refuse('run', ['ann'], old.sign('run', ['ann'], minute)), undefined)
  t.equal(only.refuse('run', ['ann'], both.sign('run', ['ann'], minute)), undefined, 'the first key signs')
  t.equal(only.refuse('run', ['ann'], old.sign('run', ['ann'], minute)), 'foreign')
})

t.test('keys that are derived for different purposes differ', async (t) => {
  t.equal(deriveKey(key, 'one').byteLength, 32)
  t.notSame(deriveKey(key, 'one'), deriveKey(key, 'other'))
  t.same(deriveKey(key, 'one'), deriveKey(key, 'one'))
})

t.test('the carrier of a run is good for this very run, user, thread, request, connection and trace', async (t) => {
  const threadId = newThreadId()
  const carrier: RunCarrier = {
    userId: toUserId('ann'),
    threadId,
    runId: newRunId(threadId),
    requestId: newRequestId(),
    connectionId: newConnectionId(),
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  }
  const signature = signCarrier(signer, carrier)
  const otherThread = newThreadId()
  const forgeries: readonly Partial<RunCarrier>[] = [
    { userId: toUserId('bob') }, { threadId: otherThread }, { runId: newRunId(threadId) }, { requestId: newRequestId() },
    { connectionId: newConnectionId() }, { traceparent: undefined }, { traceparent: '00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01' }
  ]

  t.equal(refuseCarrier(signer, carrier, signature), undefined)
  t.equal(refuseCarrier(signer, carrier, null), 'missing')
  for (const forgery of forgeries) t.equal(refuseCarrier(signer, { ...carrier, ...forgery }, signature), 'forged', Object.keys(forgery).join())
})
