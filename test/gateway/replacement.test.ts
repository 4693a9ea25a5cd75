import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { connectThreadline } from '../../client/connect.ts'
import { newConnectionId } from '../../lib/protocol/ids.ts'
import { accessSettings, tokenOf } from '../support/cluster/access.ts'
import { connectAt, openAt, startSingleNode, type SingleNode } from '../support/single-node.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { within } from '../support/within.ts'

// A client that comes back takes the place of the connection that it has lost, with as many connections as a user may have.

const withoutServer = process.env['TEST_DATABASE_URL'] === undefined && 'several nodes need the server of TEST_DATABASE_URL'

async function start (t: Test, env: Readonly<Record<string, string | undefined>>): Promise<SingleNode> {
  const node = await startSingleNode({ env: { ...accessSettings, MAX_CONNECTIONS_PER_USER: 2, MESSAGES_PER_WINDOW: 100_000, TITLE_MODEL: 'off', ...env } })
  t.teardown(async () => { await node.app.close() })
  return node
}

const idOf = (socket: TestSocket): string => socket.ofType('connection_established')[0]?.payload.connection_id ?? ''

t.test('on one node', async (t) => {
  const node = await start(t, { DATA_DIR: 'memory' })

  // kill: `replacement.replace` out of `admit` of lib/gateway/gateway.ts.
  t.test('the connection that a handshake names is closed with 4409, and counts no more', async (t) => {
    const token = await tokenOf('alice')
    const [lost, other] = [await connectAt(t, node, token), await connectAt(t, node, token)]

    t.match(await openAt(t, node, token), { status: 429, body: { error: { code: 'THREADLINE_CONNECTION_LIMIT' } } })
    const next = await connectAt(t, node, token, { replaces: idOf(lost) })
    const { code, reason } = await within('the old one to be closed', lost.closed)
    await Promise.all([other, next].map(async (socket) => { await socket.settled() }))

    t.match({ code, reason }, { code: 4409, reason: 'replaced' })
  })

  // kill: `getUserConnections` of lib/gateway/connection-registry.ts gives everybody's.
  t.test('the connection of another user, or none, is not found; what is no name is refused', async (t) => {
    const [bob, carol] = [await tokenOf('bob'), await tokenOf('carol')]
    const victim = await connectAt(t, node, bob)

    for (const replaces of [idOf(victim), newConnectionId()]) await connectAt(t, node, carol, { replaces })
    await victim.settled()

    t.match(await openAt(t, node, carol, { replaces: 'x y' }), { status: 400, body: { error: { code: 'THREADLINE_INVALID_CONTEXT' } } })
    t.match(await openAt(t, node, carol, { replaces: idOf(victim) }), { status: 429 }, 'it makes no room')
  })

  t.test('the client of the package names the one that it has lost, and stays away when it is replaced itself', async (t) => {
    const token = await tokenOf('dave')
    const other = await connectAt(t, node, token)
    const closed: (number | undefined)[] = []
    const sockets: WebSocket[] = []
    class Kept extends WebSocket {
      constructor (url: string, protocols: string[]) {
        super(url, protocols)
        sockets.push(this)
      }
    }
    const client = connectThreadline({
      url: node.url,
      token,
      WebSocket: Kept,
      heartbeatMs: 300,
      connectTimeoutMs: 300,
      reconnect: { baseMs: 1 },
      onStatus: (status) => { if (status.state === 'closed') closed.push(status.error?.closeCode) }
    })
    await client.ready
    const first = client.connectionId
    sockets[0]?.pause() // it hears nothing of the server, and gives the connection up
    await within('it to come back', (async () => { while (client.connectionId === first) await other.settled() })())

    await connectAt(t, node, token, { replaces: client.connectionId ?? '' })
    await within('it to stay away', (async () => { while (closed.length === 0) await other.settled() })())

    t.same(closed, [4409])
    t.equal(new URL(sockets[1]?.url ?? '').searchParams.get('replaces'), first)
  })
})

// kill: `relay.hear` of lib/gateway/replacement.ts.
t.test('the connection that a handshake names is closed on whichever node it is', { skip: withoutServer }, async (t) => {
  const database = await createThrowawayDatabase({ migrated: true })
  t.teardown(async () => { await database?.drop() })
  const env = { DATABASE_URL: database?.url, REDIS_URL: process.env['TEST_REDIS_URL'], DATABASE_POOL_SIZE: '3', THREADLINE_ROLE: 'gateway' }
  const [one, other] = [await start(t, env), await start(t, env)]
  const [token, strangers] = [await tokenOf('erin'), await tokenOf('frank')]
  const [lost, stranger] = [await connectAt(t, one, token), await connectAt(t, one, strangers)]

  await connectAt(t, other, strangers, { replaces: idOf(lost) })
  await Promise.all([lost, stranger].map(async (socket) => { await socket.settled() }))
  await connectAt(t, other, token, { replaces: idOf(lost) })
  const { code } = await within('the old one to be closed', lost.closed)

  t.equal(code, 4409)
  await stranger.settled()
})
