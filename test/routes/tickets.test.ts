import { once } from 'node:events'
import t from 'tap'
import { http, openSocket } from '../support/authentication.ts'
import { startServer } from '../support/start-server.ts'

t.test('tickets over the real storage', async (t) => {
  const server = await startServer(t)
  const { url, log } = server
  const buy = async (user: string): Promise<string> => {
    const { status, body } = await http(`${url}/v1/tickets`, { method: 'POST', token: await server.token(user) })
    t.equal(status, 201)
    return (body as { ticket: string }).ticket // the route's schema
  }
  const connect = async (ticket: string) => await openSocket(t, `${url}/v1/socket?ticket=${ticket}`, { subprotocols: ['threadline.v1'] })

  t.test('H103 a ticket opens one socket, for who bought it', async (t) => {
    const ticket = await buy('bob')

    const first = await connect(ticket)
    const second = await connect(ticket)

    t.match(first, { open: true, subprotocol: 'threadline.v1' })
    t.match(first.open && await first.firstMessage, { type: 'connection_established', user_id: 'bob' })
    t.match(second, { open: false, status: 401, body: { error: { code: 'THREADLINE_UNAUTHENTICATED' } } })
  })

  t.test('H103 of twenty sockets with the same ticket exactly one opens', async (t) => {
    const ticket = await buy('alice')

    const handshakes = await Promise.all(Array.from({ length: 20 }, async () => await connect(ticket)))

    t.equal(handshakes.filter(({ open }) => open).length, 1)
    for (const handshake of handshakes) if (handshake.open) { handshake.socket.close(); await once(handshake.socket, 'close') }
  })

  t.test('no ticket and no token is in the log', async (t) => {
    const ticket = await buy('alice')
    await connect(ticket)
    await connect(ticket)
    await http(`${url}/nowhere?ticket=${ticket}`)

    t.match(JSON.stringify(log), /v1\/socket\?/)
    t.notOk(JSON.stringify(log).includes(ticket))
    t.notMatch(JSON.stringify(log), /eyJ/)
  })
})
