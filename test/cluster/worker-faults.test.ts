import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { ClusterNode } from '../support/cluster/cluster.ts'
import { enough } from '../support/cluster/enough.ts'
import type { Place } from '../support/cluster/model-answers.ts'
import { needsServers, openScene, statusesOf, timed, type Scene } from '../support/cluster/scene.ts'

t.setTimeout(280_000)

/** A dead worker's run has to go on elsewhere within this. */
const continuationMs = 15_000

interface HeldRun {
  readonly run: string
  readonly marker: string
  readonly place: Place
  readonly worker: ClusterNode
}

/** A run that is held at a place, with the worker that executes it. */
async function holdRun ({ cluster, chatting: { talkers: [alice] } }: Scene, place: Place): Promise<HeldRun> {
  if (alice === undefined) throw new Error('Nobody talks')
  const { marker, content } = alice.next({ tool: true })
  const { world } = cluster
  world.hold(marker, place)
  const run = await alice.clients[0].say(content)
  return { run, marker, place, worker: cluster.node(await world.arrival(marker, place)) }
}

/** Waits until another worker has come to where the first one was held, and lets it go on to the end, of which both clients are told. */
async function goOn (t: Test, { cluster: { world }, chatting: { talkers: [alice] } }: Scene, { run, marker, place, worker }: HeldRun): Promise<void> {
  const { value: other, ms } = await timed(world.arrival(marker, place))
  t.not(other, worker.name, 'another worker goes on')
  t.ok(ms < continuationMs, `after ${ms} ms`)
  world.release(marker, place)
  for (const client of alice?.clients ?? []) {
    const { event } = await client.toldEnd(run)
    t.match(event.payload, { status: 'completed' }, `${client.name} is told the end`)
  }
}

/** What clients were told of a run's end so far. */
function endsOf ({ chatting: { talkers } }: Scene, run: string): readonly unknown[] {
  const told = talkers.flatMap(({ clients }) => clients.flatMap((client) => client.record(false).connections.flatMap(({ received }) => received)))
  return told.filter(({ event }) => event.type === 'agent_completed' && event.run_id === run)
}

const places: readonly { readonly place: Place, readonly title: string }[] = [
  { place: 'model', title: 'in its first model call' },
  { place: 'tool', title: 'in a tool call' },
  { place: 'answer', title: 'in a model call behind a tool' }
]

for (const { place, title } of places) {
  t.test(`kill -9 of a worker ${title}: the run goes on elsewhere from what it has done`, needsServers, async (t) => {
    const scene = await openScene(t, { users: ['alice', 'bob'] })
    const { world } = scene.cluster
    const held = await holdRun(scene, place)
    const load = scene.chatting.keepTalking()

    await held.worker.process.end('SIGKILL')
    await goOn(t, scene, held)
    await load.stop()
    const history = await scene.conclude()

    t.same(statusesOf(history), ['completed'])
    t.equal(world.asked(held.marker, 'model'), place === 'model' ? 2 : 1, 'what the model had said in whole is not asked again')
    t.equal(world.asked(held.marker, 'tool'), place === 'tool' ? 2 : 1, 'what the tool had done in whole is not done again')
    const events = history.threads.flatMap((thread) => thread.events).filter(({ run_id: run }) => run === held.run)
    t.equal(events.filter(({ type }) => type === 'agent_resumed').length, 1, 'clients are told once that it goes on')
    t.equal(events.filter(({ type }) => type === 'tool_executing').length, 1, 'the tool is announced once')
  })
}

t.test('a worker that is stopped past its lease and goes on then writes nothing of what another has taken over', needsServers, async (t) => {
  // kill: `run.attempt = event.attempt` in `append_events` (lib/storage/migrations/0007-message-tree-end.ts)
  const scene = await openScene(t, { users: ['alice', 'bob', 'carol'], env: { LEASE_MS: '2000' } })
  const { world } = scene.cluster
  const held = await holdRun(scene, 'answer')
  const load = scene.chatting.keepTalking({ pauseMs: 20 })

  held.worker.process.freeze()
  const { value: other, ms } = await timed(world.arrival(held.marker, held.place))
  t.not(other, held.worker.name, `another worker has taken over after ${ms} ms`)
  // The stale one finds its answer complete and its lease long over, while the other one is still at work.
  world.release(held.marker, held.place, held.worker.name)
  held.worker.process.thaw()
  await enough(load.said, 10)
  t.same(endsOf(scene, held.run), [], 'the stale worker has not told an end')
  world.release(held.marker, held.place)
  for (const client of scene.chatting.talkers[0]?.clients ?? []) await client.toldEnd(held.run)
  await load.stop()
  const history = await scene.conclude()

  t.same(statusesOf(history), ['completed'])
  t.ok(held.worker.process.running, 'the stale worker lives')
})

t.test('a run whose worker lives is executed by nobody else, however long it takes and whatever waits behind it', needsServers, async (t) => {
  // kill: the comparison of the lease with the clock in `claim_next` (lib/storage/migrations/0010-queue.ts), or `store.renew` of lib/queue/lease-keeper.ts
  const scene = await openScene(t, { users: ['alice', 'bob'], env: { LEASE_MS: '600' } })
  const { world } = scene.cluster
  const held = await holdRun(scene, 'tool')
  const [alice, bob] = scene.chatting.talkers
  if (alice === undefined || bob === undefined) return

  const waiting = await Promise.all([alice.say(), alice.say({ from: 1 })])
  for (let turn = 0; turn < 10; turn += 1) await bob.clients[0].toldEnd(await bob.say())
  await sleep(2 * 600) // two leases: what is not to happen would have happened by then
  t.equal(world.asked(held.marker, 'tool'), 1, 'the tool is called once')
  world.release(held.marker, 'tool')
  for (const run of [held.run, ...waiting]) await alice.clients[0].toldEnd(run)
  const history = await scene.conclude()

  t.same(statusesOf(history), ['completed'])
  t.same(history.threads.flatMap(({ events }) => events.filter(({ type }) => type === 'agent_resumed')), [], 'no run goes on elsewhere')
})
