import { sql } from 'kysely'
import type pg from 'pg'
import t from 'tap'
import type { Identity } from '../../lib/context/identity.ts'
import type { NewThreadEvent } from '../../lib/protocol/events.ts'
import { newMessageId, newRequestId, newRunId, newThreadId, toRunId, type ThreadId } from '../../lib/protocol/ids.ts'
import { migrate } from '../../lib/storage/migrate.ts'
import { openStores } from '../../lib/storage/open-storage.ts'
import { createUnitsOfWork, type UnitsOfWork } from '../../lib/storage/unit-of-work.ts'
import { onEachEarlierDatabase } from '../support/earlier-database.ts'
import { as, completionOf, deltaOf, eventOf, lease, newcomer, regenerationOf } from '../support/storage-databases.ts'

interface FunctionRow { readonly signature: string, readonly result: string, readonly by_users: boolean, readonly by_system: boolean }
type RunRow = Readonly<Record<'run_id' | 'thread_id' | 'user_id' | 'message_id' | 'status', string> & { attempt: number }>

/** What the version before leases asks of the database, word for word as it does. */
function previousVersion (units: UnitsOfWork, alice: Identity) {
  const rows = async <Row>(text: ReturnType<typeof sql<Row>>) => await as(alice, async () => await units.asUser(async (unit) => await unit.lastRows(text)))
  return {
    rows,
    accept: async (threadId: ThreadId, isNew: boolean) => await rows(sql<{ run_id: string, duplicate: boolean, standing: number }>`
      select * from threadline.accept_message(
        ${newMessageId()}, ${newRunId(threadId)}, ${threadId}, ${isNew}, ${null}, ${'Hello'}, ${'{}'}, ${`m ${threadId} ${isNew}`}, ${'assistant'}, ${'{}'},
        ${'enqueue'}, ${null}, ${16}, ${newRequestId()}, ${null})`),
    regenerate: async (threadId: ThreadId) => await rows(sql<{ run_id: string, standing: number }>`
      select * from threadline.regenerate_message(
        ${newRunId(threadId)}, ${threadId}, ${null}, ${null}, ${null}, ${'assistant'}, ${'{}'}, ${'enqueue'}, ${null}, ${16}, ${newRequestId()}, ${null})`),
    claim: async (threadId: ThreadId) => await rows(sql<RunRow>`select * from threadline.claim_next(${threadId})`),
    append: async (events: readonly object[]) => await units.asOwners(async (unit) => await unit.lastRows(sql<{ sequence: number, refused: string | null }>`
      select * from threadline.append_events(${JSON.stringify(events)})`))
  }
}

const itemOf = (event: NewThreadEvent, attempt: number, item: number, more: object = {}) => ({
  item, user_id: event.user_id, thread_id: event.thread_id, run_id: event.run_id, event_id: event.event_id, type: event.type, attempt,
  body: JSON.stringify(event), ...more
})

/** Everything that it does with a user, and what it is answered, without ids and times. */
async function useEverything (units: UnitsOfWork, alice: Identity): Promise<readonly unknown[]> {
  const old = previousVersion(units, alice)
  const threadId = newThreadId()
  const seen: unknown[] = []
  const accepted = [await old.accept(threadId, true), await old.accept(threadId, false), await old.accept(threadId, true), await old.regenerate(threadId)]
  seen.push(accepted.flat().map((row) => Object.keys(row).length), accepted.flat().map(({ standing }) => standing))

  const [run] = await old.claim(threadId)
  if (run === undefined) throw new Error('There was something to claim')
  seen.push(run.status, run.attempt, await old.claim(threadId))
  const of = { userId: run.user_id, threadId, runId: toRunId(run.run_id), attempt: run.attempt }
  seen.push(await old.append([
    itemOf(deltaOf(of).event, 1, 0),
    itemOf(deltaOf(of).event, 7, 1),
    itemOf(completionOf(of).event, 1, 2, {
      outcome: 'completed', error: null, rolled_back: false, message_id: newMessageId(), content: 'Done', model: 'x', input_tokens: 1, output_tokens: 2
    })
  ]))
  const [ended] = await old.rows(sql<RunRow>`select * from threadline.runs where run_id = ${run.run_id} and user_id = ${alice.userId}`)
  seen.push(ended?.status, (await old.claim(threadId)).map(({ attempt }) => attempt))
  seen.push((await units.asSystem(async (unit) => await unit.lastRows(sql<RunRow>`
    select * from threadline.runs where status in ('queued', 'running') order by ordinal`))).filter(({ user_id: id }) => id === alice.userId).length)

  const fork = newThreadId()
  seen.push((await old.rows(sql`select user_id from threadline.fork_thread(${threadId}, ${fork}, ${null}, ${null})`)).length)
  seen.push((await old.rows(sql`select threadline.select_branch(${threadId}, ${run.message_id})`)).length)
  seen.push((await old.rows(sql`select 1 from threadline.lock_thread(${threadId})`)).length)
  seen.push((await old.rows(sql<{ words: string }>`select threadline.search_query(${'hello wor'}, ${true})::text as words`)))
  seen.push(await units.asOwners(async (unit) => await unit.lastRows(sql`select threadline.expire_events(${alice.userId}, ${fork}, now(), 10)`)))
  await old.rows(sql`update threadline.threads set deleted_at = now() where thread_id = ${fork} and user_id = ${alice.userId}`)
  seen.push(await units.asOwners(async (unit) => await unit.lastRows(sql`select threadline.purge_thread(${alice.userId}, ${fork}, 'infinity', 10)`)))
  seen.push(await old.rows(sql`select * from threadline.erase_user()`))
  return seen
}

async function functionsOf (pool: pg.Pool): Promise<readonly FunctionRow[]> {
  const { rows } = await pool.query<FunctionRow>(`
    select p.oid::regprocedure::text as signature, pg_get_function_result(p.oid) as result,
      has_function_privilege('threadline_app', p.oid, 'execute') as by_users,
      has_function_privilege('threadline_system', p.oid, 'execute') as by_system
    from pg_proc p where p.pronamespace = 'threadline'::regnamespace order by 1`)
  return rows
}

async function columnsOf (pool: pg.Pool): Promise<ReadonlySet<string>> {
  const { rows } = await pool.query<{ name: string }>(`
    select format('%s.%s %s', table_name, column_name, data_type) as name from information_schema.columns where table_schema = 'threadline'`)
  return new Set(rows.map(({ name }) => name))
}

// kill: drop an earlier overload, or add an attribute to `new_event`, in one of the migrations 0010
onEachEarlierDatabase(t, 'the version before leases works on while the database is brought up, and beside the next one', '0009-retention', async (t, pool) => {
  const units = createUnitsOfWork(pool, { statementTimeoutMs: 15_000, lockTimeoutMs: 5_000 })
  const alice = newcomer()
  const [functions, columns] = [await functionsOf(pool), await columnsOf(pool)]
  const before = await useEverything(units, alice)
  const threadId = newThreadId()
  await previousVersion(units, alice).accept(threadId, true)
  const [claimed] = await previousVersion(units, alice).claim(threadId)

  await migrate(pool)

  const now = new Map((await functionsOf(pool)).map((row) => [row.signature, row]))
  for (const known of functions) t.match(now.get(known.signature), known, known.signature)
  t.same(columns.difference(await columnsOf(pool)), new Set())
  t.same(await useEverything(units, newcomer()), before, 'with the plans that its sessions have')
  await Promise.all([pool.query('discard plans'), pool.query('discard plans')])
  t.same(await useEverything(units, newcomer()), before, 'and with new ones')

  const storage = await openStores(units, async () => undefined)
  const run = await as(alice, async () => (await storage.runs.unfinished(threadId))[0])
  if (run === undefined) throw new Error('It is running')
  t.match(run, { runId: claimed?.run_id, attempt: 1, signature: null, stopReason: null })
  t.equal(await as(alice, async () => await storage.runs.claimNext(threadId, lease)), undefined, 'the earlier version has it')
  const next = regenerationOf({ threadId })
  await as(alice, async () => await storage.runs.regenerate(next))
  t.match(await storage.events.append([eventOf(run, 'agent_thinking', { message: 'hm', step: 0 }), completionOf(run)]), [{ sequence: 1 }, { sequence: 2 }])
  t.match(await previousVersion(units, alice).claim(threadId), [{ run_id: next.runId, attempt: 1 }], 'it takes what a newer one has accepted')
})
