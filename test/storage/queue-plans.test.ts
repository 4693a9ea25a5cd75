import t from 'tap'
import { newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { createEventStore } from '../../lib/storage/event-store.ts'
import { createQueueStore } from '../../lib/storage/queue-store.ts'
import type { Query, UnitsOfWork } from '../../lib/storage/unit-of-work.ts'
import { onEachDatabase } from '../support/storage-databases.ts'

const threadOf = "('00000000-0000-4000-8000-' || lpad(to_hex(n % 20000 + 1), 12, '0'))::uuid"
const userOf = "'user ' || (n % 20000 + 1) % 50"

/** As after some months: very many runs that have ended, a thousand that wait, and some that are executed. */
const months = `
  alter table threadline.runs no force row level security;
  alter table threadline.threads no force row level security;
  insert into threadline.threads (thread_id, user_id) select ${threadOf}, ${userOf} from generate_series(0, 19999) n;
  insert into threadline.runs (run_id, thread_id, user_id, message_id, request_id, agent, input, context, status, started_at, attempt, worker, lease_until)
    select 'run_' || ${threadOf} || '_' || gen_random_uuid(), ${threadOf}, ${userOf}, gen_random_uuid(), gen_random_uuid(), 'assistant', repeat('hello ', 30), '{}',
      case when n < 40000 then 'completed' when n < 41000 then 'queued' else 'running' end, now(), 1, 'a worker', now() + interval '1 minute'
    from generate_series(0, 41199) n;
  alter table threadline.runs force row level security;
  alter table threadline.threads force row level security`

onEachDatabase(t, async (t, { units, ask }) => {
  await ask(months)

  /** How the database would do what a store asks for. */
  async function planOf (work: (units: UnitsOfWork) => Promise<unknown>): Promise<string> {
    const plans: string[] = []
    await work({
      ...units,
      asSystem: async (inUnit) => await units.asSystem(async (unit) => {
        return await inUnit({
          ...unit,
          async lastRows<Row> (built: Query<Row>) {
            const explained: Query<{ 'QUERY PLAN': string }> = {
              compile (builder) {
                const compiled = built.compile(builder)
                return { ...compiled, sql: `explain ${compiled.sql}` }
              }
            }
            plans.push(...(await unit.lastRows(explained)).map((row) => row['QUERY PLAN']))
            return []
          }
        })
      })
    })
    return plans.join('\n')
  }

  for (const statistics of ['without', 'with']) {
    t.test(`what many processes ask again and again costs what is unfinished, not what has ended, ${statistics} statistics`, async (t) => {
      // kill: leave the status out of `heads` in lib/storage/queue-store.ts and out of the policy `unfinished_runs` (0002-row-level-security.ts)
      if (statistics === 'with') await ask('analyze threadline.runs; analyze threadline.threads')
      const claimable = await planOf(async (units) => await createQueueStore(units).claimable({ limit: 20, waitedMs: 1_000 }))
      const depth = await planOf(async (units) => await createQueueStore(units).depth())
      const runs = Array.from({ length: 50 }, () => ({ runId: newRunId(newThreadId()), attempt: 1 }))
      const renewal = await planOf(async (units) => await createQueueStore(units).renew({ worker: 'a worker', leaseMs: 9_000 }, runs))
      const threads = Array.from({ length: 50 }, () => ({ userId: toUserId('user 1'), threadId: newThreadId() }))
      const positions = await planOf(async (units) => await createEventStore(units, '').positions(threads))

      t.match(claimable, /runs_unfinished/)
      t.match(depth, /runs_unfinished/)
      for (const plan of [claimable, depth, renewal, positions]) t.notMatch(plan, /Seq Scan on (runs|threads)/)
    })
  }
})
