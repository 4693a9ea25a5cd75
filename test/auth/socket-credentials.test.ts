import t from 'tap'
import { readSocketCredentials, type SocketHandshake } from '../../lib/auth/socket-credentials.ts'

const none: SocketHandshake = { authorization: undefined, offeredSubprotocols: undefined, ticket: undefined }
const read = (handshake: Partial<SocketHandshake>) => readSocketCredentials({ ...none, ...handshake })

t.test('H100 a token is read from the header, with or without an offered subprotocol', async (t) => {
  t.strictSame(read({ authorization: 'Bearer a.b.c' }), { kind: 'bearer', token: 'a.b.c', subprotocol: undefined })
  t.strictSame(read({ authorization: 'bearer  a.b.c' }), { kind: 'bearer', token: 'a.b.c', subprotocol: undefined })
  t.strictSame(read({ authorization: 'Bearer a.b.c', offeredSubprotocols: 'x, threadline.v1' }), {
    kind: 'bearer', token: 'a.b.c', subprotocol: 'threadline.v1'
  })
})

t.test('H100 a token is read from an offered subprotocol and never selected, whatever the order', async (t) => {
  for (const offeredSubprotocols of ['threadline.v1, bearer.a.b.c', 'bearer.a.b.c,threadline.v1', 'x, bearer.a.b.c , threadline.v1, y']) {
    t.strictSame(read({ offeredSubprotocols }), { kind: 'bearer', token: 'a.b.c', subprotocol: 'threadline.v1' }, offeredSubprotocols)
  }
})

t.test('H100 a ticket is read from the query', async (t) => {
  t.strictSame(read({ ticket: 'abc' }), { kind: 'ticket', ticket: 'abc', subprotocol: undefined })
  t.strictSame(read({ ticket: 'abc', offeredSubprotocols: 'threadline.v1' }), { kind: 'ticket', ticket: 'abc', subprotocol: 'threadline.v1' })
})

t.test('H101 no credential, more than one, or a malformed one is refused', async (t) => {
  for (const handshake of [
    {},
    { offeredSubprotocols: 'threadline.v1' },
    { authorization: '' },
    { authorization: 'Bearer' },
    { authorization: 'Bearer a b' },
    { authorization: 'Basic YTpi' },
    { authorization: 'Basic YTpi', ticket: 'abc' },
    { authorization: 'Bearer a.b.c', ticket: 'abc' },
    { authorization: 'Bearer a.b.c', offeredSubprotocols: 'threadline.v1, bearer.a.b.c' },
    { ticket: 'abc', offeredSubprotocols: 'threadline.v1, bearer.a.b.c' },
    { offeredSubprotocols: 'threadline.v1, bearer.a.b.c, bearer.d.e.f' },
    { ticket: ['abc', 'def'] },
    { ticket: ['abc'], authorization: 'Bearer a.b.c' },
    { ticket: null }
  ]) {
    t.throws(() => read(handshake), { code: 'THREADLINE_UNAUTHENTICATED' }, JSON.stringify(handshake))
  }
})

t.test('H102 subprotocols without a supported one are refused', async (t) => {
  for (const offeredSubprotocols of ['x', 'threadline.v2', 'THREADLINE.V1', 'bearer.a.b.c', '']) {
    t.throws(() => read({ offeredSubprotocols, authorization: 'Bearer a.b.c' }), { code: 'THREADLINE_UNSUPPORTED_SUBPROTOCOL' }, offeredSubprotocols)
  }
})
