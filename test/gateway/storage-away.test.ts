import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { startProxy, type TcpProxy } from '../support/cluster/tcp-proxy.ts'
import { connectAt, openAt, startSingleNode, tokenOf } from '../support/single-node.ts'
import type { TestSocket } from '../support/test-socket.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { within } from '../support/within.ts'

// A node that loses its database server while another one keeps it.

const keys = randomBytes(32).toString('hex')
const database = await createThrowawayDatabase({ migrated: true })
if (database === undefined) t.plan(0, 'several nodes need the server of TEST_DATABASE_URL')
else await run(database.url, await startProxy(t, database.url))

async function run (databaseUrl: string, proxy: TcpProxy): Promise<void> {
  t.teardown(async () => { await database?.drop() })
  const start = async (url: string) => await startSingleNode({
    env: { DATABASE_URL: url, DATABASE_POOL_SIZE: 4, SIGNING_KEYS: keys, DEFAULT_AGENT: 'echo', TITLE_MODEL: 'off', POLL_INTERVAL_MS: 200 }
  })
  const [cut, whole] = [await start(proxy.url), await start(databaseUrl)]
  t.teardown(async () => {
    proxy.heal()
    for (const { app } of [cut, whole]) await app.close()
  })

  t.test('commands are refused for a while, sockets stay, and followers catch up', async (t) => {
    const [token, strange] = [await tokenOf('alice', cut), await tokenOf('mallory', cut)]
    const first = await connectAt(t, whole, token)
    const created = await first.ask({ type: 'create_thread', payload: {} }) as ServerEvent<'thread_created'>
    const { thread_id: thread } = created.payload
    const [here, there] = [await connectAt(t, cut, token, { thread_id: thread }), await connectAt(t, whole, token, { thread_id: thread })]
    await there.chat('before')
    await caughtUp(here, there)

    proxy.refuse()
    const refused = await here.ask({ type: 'user_message', payload: { content: 'in vain' } })
    const pong = await here.ask({ type: 'ping', payload: {} })
    const [known, unknown, bare] = [await openAt(t, cut, token, { thread_id: thread }), await openAt(t, cut, strange, { thread_id: thread }), await connectAt(t, cut, token)]
    const ready = await fetch(`${cut.url}/health/ready`)
    const live = await fetch(`${cut.url}/health/live`)
    for (const content of ['one', 'two', 'three']) await there.chat(content)
    const before = here.runEvents.length
    proxy.heal()
    await caughtUp(here, there)
    const accepted = await within('a message to be accepted again', (async () => {
      for (;;) {
        const answer = await here.ask({ type: 'user_message', payload: { content: 'again' } })
        if (answer.type === 'message_accepted') return answer
      }
    })())
    await Promise.all([here, there].map((socket) => within('its answer', socket.until('agent_completed', ({ run_id: runId }) => runId === accepted.run_id))))

    t.match(refused, { type: 'error', payload: { code: 'THREADLINE_STORAGE_UNAVAILABLE', retryable: true } })
    t.equal(pong.type, 'pong')
    t.match([known, unknown], [{ status: 503 }, { status: 503 }], 'nobody learns whose the thread is')
    t.same([ready.status, live.status], [503, 200])
    t.ok(before < there.runEvents.length, 'it was behind')
    t.same(here.runEvents.map(({ sequence }) => sequence), here.runEvents.map((_event, index) => index + 1))
    t.same(here.runEvents.map(({ event_id: id }) => id), there.runEvents.map(({ event_id: id }) => id))
    t.equal((await bare.settled()).at(0)?.type, 'connection_established')
  })
}

async function caughtUp (behind: TestSocket, ahead: TestSocket): Promise<void> {
  await within(() => `${behind.runEvents.length} of ${ahead.runEvents.length} events`, (async () => { while (behind.runEvents.length < ahead.runEvents.length) await turn() })())
}
