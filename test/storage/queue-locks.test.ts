import { setTimeout as delay } from 'node:timers/promises'
import { sql } from 'kysely'
import t, { type Test } from 'tap'
import type { Identity } from '../../lib/context/identity.ts'
import type { ThreadId } from '../../lib/protocol/ids.ts'
import type { Lease } from '../../lib/stores/queue-store.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import { as, messageOf, newcomer, onEachDatabase, runningRun } from '../support/storage-databases.ts'
import { within } from '../support/within.ts'

const lease: Lease = { worker: 'first', leaseMs: 60_000 }

onEachDatabase(t, async (t, { storage, units, another, ask }) => {
  if (await another(t) === storage) return // one session is all there is, so nobody waits for anybody

  async function waits (count: number): Promise<void> {
    const isSo = async (): Promise<boolean> => {
      const rows = await ask("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
      return rows.length >= count
    }
    await within(`${count} that wait for a lock`, (async () => { while (!await isSo()) await delay(5) })())
  }

  /** A transaction in the name of a user that has done something and is not committed yet. */
  async function begun (t: Test, user: Identity, statements: readonly string[]): Promise<{ readonly commit: () => Promise<void> }> {
    const [done, goOn] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()]
    const unit = as(user, async () => {
      await units.asUser(async (unit) => {
        for (const statement of statements) await unit.rows(sql.raw(statement))
        done.resolve(undefined)
        await goOn.promise
      })
    })
    const commit = async (): Promise<void> => {
      goOn.resolve(undefined)
      await unit
    }
    t.teardown(commit)
    await Promise.race([done.promise, unit])
    return { commit }
  }

  const lockOf = (threadId: ThreadId): string => `select 1 from threadline.threads where thread_id = '${threadId}' for no key update`

  t.test('who takes the next run of a thread waits for whoever changes what is in it, and then takes what is first', async (t) => {
    // kill: no `for no key update` in `claim_next` of lib/storage/migrations/0010-queue.ts: the run that was first is looked for, and is none any more
    const alice = newcomer()
    const [first, next] = [messageOf(), messageOf()]
    await as(alice, async () => await storage.runs.accept(first))
    await as(alice, async () => await storage.runs.accept({ ...next, threadId: first.threadId, newThread: false, runId: next.runId.replace(next.threadId, first.threadId) as RunRecord['runId'] }))
    const ending = await begun(t, alice, [
      lockOf(first.threadId), `update threadline.runs set status = 'cancelled', finished_at = now() where run_id = '${first.runId}'`
    ])

    const workers = await Promise.all([another(t), another(t)])
    const taking = workers.map(async (worker) => await as(alice, async () => await worker.runs.claimNext(first.threadId, lease)))
    await waits(workers.length)
    await ending.commit()

    const [taken, ...others] = (await Promise.all(taking)).filter((run) => run !== undefined)
    t.match(taken, { threadId: first.threadId, attempt: 1, status: 'running' })
    t.not(taken?.runId, first.runId)
    t.same(others, [], 'one of them')
  })

  t.test('a lease is renewed although another run is locked, which is answered as it was', async (t) => {
    // kill: no `skip locked` in `renewal` of lib/storage/queue-store.ts
    const [alice, bob] = [newcomer(), newcomer()]
    const [locked, free] = [await runningRun(storage, alice), await runningRun(storage, bob)]
    const ofRun = { worker: 'a worker', leaseMs: 600_000 }
    const ending = await begun(t, alice, [`select 1 from threadline.runs where run_id = '${locked.runId}' for no key update`])

    const renewed = await within('the leases', storage.queue.renew(ofRun, [locked, free]), 4_000)
    await ending.commit()

    t.same(new Set(renewed.map(({ runId }) => runId)), new Set([locked.runId, free.runId]))
    await storage.queue.renew(ofRun, [locked])
  })
})
