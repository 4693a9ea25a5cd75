import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { connectThreadline } from '../../client/connect.ts'
import type { ClientStatus } from '../../client/threadline-client.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { tokenOf } from '../support/cluster/access.ts'
import { startCluster } from '../support/cluster/cluster.ts'
import { needsServers, openScene, statusesOf, timed } from '../support/cluster/scene.ts'
import { openSocket, TestSocket } from '../support/test-socket.ts'
import { within } from '../support/within.ts'

t.setTimeout(280_000)

t.test('kill -9 of a gateway: its clients go on at the other one, and miss nothing', needsServers, async (t) => {
  const scene = await openScene(t)
  const { cluster, chatting: { talkers: [alice], keepTalking } } = scene
  if (alice === undefined) return
  const { marker, content } = alice.next({ tool: true })
  cluster.world.hold(marker, 'tool')
  const run = await alice.clients[0].say(content)
  await cluster.world.arrival(marker, 'tool')
  const load = keepTalking({ pauseMs: 20 })

  await cluster.node('gateway-0').process.end('SIGKILL')
  cluster.world.release(marker, 'tool')
  await Promise.all(alice.clients.map(async (client) => await client.toldEnd(run)))
  t.ok(alice.clients.every(({ node }) => node === 'gateway-1'), 'both clients are at the other gateway')
  await cluster.node('gateway-0').restart()
  for (const { clients } of scene.chatting.talkers) clients[0].drop()
  await load.stop()
  const history = await scene.conclude()

  t.same(statusesOf(history), ['completed'])
  t.ok(history.clients.some(({ connections }) => connections.slice(1).some(({ node }) => node === 'gateway-0')), 'the first one serves again')
})

const presenceOf = (socket: TestSocket): number | undefined => socket.ofType('presence').at(-1)?.payload.connections

async function untilPresence (socket: TestSocket, connections: number, timeoutMs: number): Promise<void> {
  const from = socket.events.length
  if (presenceOf(socket) === connections) return
  const told = socket.until('presence', ({ payload }) => payload.connections === connections, from)
  await within(() => `${connections} to be present, and not ${presenceOf(socket)}`, told, timeoutMs)
}

async function join (t: Test, url: string, user: string, query: Readonly<Record<string, string>> = {}): Promise<TestSocket> {
  const opened = await openSocket(`${url.replace('http', 'ws')}/v1/socket?${new URLSearchParams(query).toString()}`, {
    protocols: ['threadline.v1', `bearer.${await tokenOf(user)}`]
  })
  if (!(opened instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(opened)}`)
  t.teardown(() => { opened.drop() })
  await opened.until('connection_established')
  return opened
}

// kill: `isGone` out of `#counting` of lib/gateway/peer-counts.ts. It takes 62 s then.
t.test('kill -9 of a gateway: its connections count no more after some seconds, and whoever was at the limit is let in by then', needsServers, async (t) => {
  const cluster = await startCluster(t, { roles: ['gateway', 'gateway'], env: { MAX_CONNECTIONS_PER_USER: '3' } })
  const [doomed, other] = [cluster.node('gateway-0').process, cluster.node('gateway-1').process]
  const first = await join(t, other.url, 'alice')
  const { payload: { thread_id: thread } } = await first.ask({ type: 'create_thread', payload: {} }) as ServerEvent<'thread_created'>
  for (const url of [doomed.url, doomed.url]) await join(t, url, 'alice', { thread_id: thread })
  await first.ask({ type: 'switch_thread', payload: { thread_id: thread } })
  await untilPresence(first, 3, 10_000)
  const statuses: ClientStatus[] = []

  await doomed.end('SIGKILL')
  const token = await tokenOf('alice')
  const client = connectThreadline({ url: other.url, token, WebSocket, onStatus: (status) => { statuses.push(status) } })
  const { ms } = await timed(within(() => `her to be let in, after ${JSON.stringify(statuses)}`, client.ready, 30_000))
  await untilPresence(first, 1, 5_000)
  await client.close()

  t.ok(statuses.some((status) => status.state === 'reconnecting' && status.closeCode === 4429), 'she is refused at first, and asked to come again')
  t.ok(ms < 15_000, `she was let in after ${ms} ms`)
})

t.test('a gateway that is stopped for some seconds stays counted, and one that leaves in order is not counted at once', needsServers, async (t) => {
  const cluster = await startCluster(t, { roles: ['gateway', 'gateway'] })
  const [slow, other] = [cluster.node('gateway-0').process, cluster.node('gateway-1').process]
  const first = await join(t, other.url, 'bob')
  const { payload: { thread_id: thread } } = await first.ask({ type: 'create_thread', payload: {} }) as ServerEvent<'thread_created'>
  await join(t, slow.url, 'bob', { thread_id: thread })
  await first.ask({ type: 'switch_thread', payload: { thread_id: thread } })
  await untilPresence(first, 2, 10_000)
  const from = first.events.length

  slow.freeze()
  await sleep(5_000) // it is the fault
  slow.thaw()
  const late = await join(t, slow.url, 'bob', { thread_id: thread })
  await untilPresence(first, 3, 10_000)
  t.same(first.ofType('presence').filter((event) => first.events.indexOf(event) >= from).map(({ payload }) => payload.connections), [3])
  const { ms } = await timed(Promise.all([slow.end('SIGTERM'), untilPresence(first, 1, 10_000)]))
  await late.closed

  t.ok(ms < 10_000, `it was gone after ${ms} ms`)
})
