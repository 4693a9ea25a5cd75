import t from 'tap'
import { needsServers, openScene, statusesOf } from '../support/cluster/scene.ts'

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
