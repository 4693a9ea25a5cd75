import t from 'tap'
import { isEvent } from '../support/is-event.ts'
import { enough } from '../support/cluster/enough.ts'
import { needsServers, openScene, statusesOf } from '../support/cluster/scene.ts'

t.setTimeout(280_000)

const nextVersion = './test/support/cluster/next-version.ts'

t.test('a rolling upgrade under load: no event is lost, no error is shown, and both versions work side by side', needsServers, async (t) => {
  const scene = await openScene(t)
  const { cluster } = scene
  const isNext = (name: string): boolean => cluster.node(name).process.lines.some((line) => line.includes('the next version'))
  const load = scene.chatting.keepTalking()
  await enough(load.said, 10)

  for (const name of ['worker-0', 'gateway-0']) {
    t.equal(await cluster.node(name).process.end('SIGTERM'), 0, `${name} ends in peace`)
    await cluster.node(name).restart(nextVersion)
    await enough(load.said, 10)
  }
  t.equal(await cluster.node('worker-1').process.end('SIGTERM'), 0, 'an old one ends meanwhile')
  await cluster.node('worker-1').restart()
  t.notOk(isNext('worker-1'), 'and starts again on the schema of the new one')
  await enough(load.said, 10)
  for (const name of ['worker-1', 'gateway-1']) {
    t.equal(await cluster.node(name).process.end('SIGTERM'), 0, `${name} ends in peace`)
    await cluster.node(name).restart(nextVersion)
    await enough(load.said, 10)
  }
  await load.stop()
  const history = await scene.conclude()

  t.ok(cluster.nodes.every(({ name }) => isNext(name)), 'all of them are the next version')
  t.same(statusesOf(history), ['completed'])
  const told = history.clients.flatMap(({ connections }) => connections.flatMap(({ received }) => received))
  t.same(told.flatMap(({ event }) => isEvent(event, 'error') ? [event.payload] : []), [], 'no client is told an error')
})
