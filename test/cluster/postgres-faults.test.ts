import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { enough } from '../support/cluster/enough.ts'
import { findPostgres, startPostgresServer } from '../support/cluster/postgres-server.ts'
import { openScene } from '../support/cluster/scene.ts'

t.setTimeout(280_000)

const needsPostgres = { skip: findPostgres() === undefined && 'needs the programs of Postgres' }
const awayMs = 2_000

for (const mode of ['fast', 'immediate'] as const) {
  const title = mode === 'fast' ? 'a restart of Postgres' : 'a crash of Postgres'
  t.test(`${title}: commands are refused for a while, sockets stay, and everybody catches up`, needsPostgres, async (t) => {
    const postgres = await startPostgresServer(t)
    const scene = await openScene(t, { databaseUrl: postgres.url })
    const [alice, bob] = scene.chatting.talkers
    if (alice === undefined || bob === undefined) return
    const { marker, content } = alice.next({ tool: true })
    scene.cluster.world.hold(marker, 'tool')
    const run = await alice.clients[0].say(content)
    await scene.cluster.world.arrival(marker, 'tool')
    const load = scene.chatting.keepTalking()
    await enough(load.said, 10)

    await postgres.stop(mode)
    const refused = bob.say()
    await Promise.all([sleep(awayMs), enough(() => bob.clients[0].refusals.length, 1)])
    await postgres.start()
    await refused
    scene.cluster.world.release(marker, 'tool')
    for (const client of alice.clients) await client.toldEnd(run)
    await enough(load.said, 20)
    await load.stop()
    const history = await scene.conclude()

    const refusals = scene.chatting.talkers.flatMap(({ clients }) => clients.flatMap((client) => client.refusals))
    t.ok(refusals.length > 0, `${refusals.length} times a message was refused`)
    t.same([...new Set(refusals.map(({ code }) => code))], ['THREADLINE_STORAGE_UNAVAILABLE'], 'and could be sent again')
    t.ok(history.clients.every(({ connections }) => connections.length === 1), 'no connection is lost')
    t.same(history.threads.flatMap(({ runs }) => runs.filter(({ status }) => status !== 'completed')), [], 'every run has completed')
  })
}
