import { sql } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { toRunId, toThreadId, toUserId } from '../protocol/ids.ts'
import type { Lease, LeasedRun, QueueStore } from '../stores/queue-store.ts'
import { storableText } from './storable-text.ts'
import { query } from './tables.ts'
import type { UnitsOfWork } from './unit-of-work.ts'
import { UnreadableRuns, type NamedRun } from './unreadable-runs.ts'

interface RenewedRow { readonly run_id: string, readonly attempt: number, readonly stop_reason: string | null }

/**
 * The table of the runs as a queue. What concerns the runs of everybody is asked in the role of the system, which may read unfinished runs and
 * renew their leases; what concerns one run happens in the name of its user.
 */
export function createQueueStore (units: UnitsOfWork, leases = units, unreadable = new UnreadableRuns()): QueueStore {
  return {
    async claimable ({ limit, waitedMs = 0 }) {
      unreadable.forgetOld()
      for (;;) { // until nothing stands in a place that somebody else can have
        const { size } = unreadable
        const rows = await units.asSystem(async (unit) => await unit.lastRows(claimableThreads(limit, waitedMs, unreadable)))
        const readable = unreadable.passOver(rows)
        if (unreadable.size > size) continue
        return readable.map((row) => ({ userId: toUserId(row.user_id), threadId: toThreadId(row.thread_id) }))
      }
    },

    async renew (lease, runs) {
      if (runs.length === 0) return []
      const rows = await leases.asSystem(async (unit) => await unit.lastRows(renewal(lease, runs)))
      return rows.map((row) => ({ runId: toRunId(row.run_id), attempt: row.attempt, stopReason: row.stop_reason }))
    },

    release: async (run, { inVain = false } = {}) => { await units.asUser(async (unit) => await unit.lastRows(releaseOf(run, inVain ? 0 : 1))) },

    requestStop: async (runId, reason) => await units.asUser(async (unit) => {
      const asked = query.updateTable('runs').set({ stop_reason: storableText(reason, 'reason') })
        .where('run_id', '=', runId).where('user_id', '=', currentIdentity().userId)
        .where('status', '=', 'running').where((run) => run.or([run('stop_reason', 'is', null), run('stop_reason', '=', reason)]))
      return (await unit.lastRows(asked.returning('run_id'))).length > 0
    }),

    steps: async (runId) => await units.asUser(async (unit) => {
      const steps = query.selectFrom('run_steps').select(['user_id', 'key', 'body'])
        .where('run_id', '=', runId).where('user_id', '=', currentIdentity().userId).orderBy('position')
      return (await unit.lastRows(steps)).map(({ user_id: userId, key, body }) => {
        guard({ userId: toUserId(userId) }, 'storage')
        return { key, body }
      })
    }),

    depth: async () => await units.asSystem(async (unit) => {
      const [row] = await unit.lastRows(sql<{ queued: number, running: number }>`
        select count(*) filter (where status = 'queued') as queued, count(*) filter (where status = 'running') as running
        from threadline.runs where status in ('queued', 'running')`)
      return row ?? { queued: 0, running: 0 }
    })
  }
}

/**
 * The oldest unfinished run of a thread is its running one, where there is one: runs are taken in the order of their ordinals. A user's first thread
 * comes before what others have under way, the second counts as if the first was taken, and so on.
 */
function claimableThreads (limit: number, waitedMs: number, { users, threads }: Pick<UnreadableRuns, 'users' | 'threads'>) {
  // A run that was stored before the database's clock was set back has waited, too.
  const longEnough = waitedMs <= 0 ? sql`true` : sql`waits_since <= now() - ${waitedMs} * interval '1 millisecond'`
  const others = users.length + threads.length === 0 ? sql`true` : sql`r.user_id <> all(${users}::text[]) and r.thread_id <> all(${threads}::uuid[])`
  return sql<NamedRun>`
    with heads as materialized (
      select distinct on (r.thread_id) r.thread_id, r.user_id, r.run_id, r.status = 'running' as running,
        case when r.status = 'running' then threadline.lease_end(r.lease_until, r.started_at) else r.created_at end as waits_since
      from threadline.runs r where r.status in ('queued', 'running') and ${others} order by r.thread_id, r.ordinal
    ), counted as (
      select h.*, running and waits_since > now() as busy,
        count(*) filter (where running and waits_since > now()) over (partition by user_id) as under_way
      from heads h
    ), waiting as (
      select c.*, under_way + row_number() over (partition by user_id order by waits_since, thread_id) as place
      from counted c where not busy and ${longEnough}
    )
    select user_id, thread_id, run_id from waiting order by place, waits_since, thread_id limit ${limit}`
}

/**
 * The leases of those runs of the worker that nobody else has. A row that is locked is not waited for: its run is about to end, or to be taken over,
 * and its transaction may wait for another row of these. It is answered as it was and renewed the next time.
 */
function renewal ({ worker, leaseMs }: Lease, runs: readonly LeasedRun[]) {
  const ids = runs.map(({ runId }) => runId)
  const attempts = runs.map(({ attempt }) => attempt)
  return sql<RenewedRow>`
    with held as materialized (
      select r.run_id, r.attempt, r.stop_reason
      from unnest(${ids}::text[], ${attempts}::integer[]) l (run_id, attempt)
      join threadline.runs r on r.run_id = l.run_id and r.attempt = l.attempt
      where r.worker = ${worker} and r.status = 'running'
    ), locked as materialized (
      select r.run_id from held h
      join threadline.runs r on r.run_id = h.run_id and r.attempt = h.attempt
      where r.worker = ${worker} and r.status = 'running'
      for no key update of r skip locked
    ), renewed as (
      update threadline.runs r set lease_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
      from locked l where r.run_id = l.run_id and r.status = 'running'
    )
    select run_id, attempt, stop_reason from held`
}

function releaseOf ({ runId, attempt }: LeasedRun, given: 0 | 1) {
  return query.updateTable('runs').set({ worker: null, lease_until: sql<string>`clock_timestamp()`, given_back: sql<number>`given_back + ${sql.lit(given)}` })
    .where('run_id', '=', runId).where('user_id', '=', currentIdentity().userId)
    .where('status', '=', 'running').where('attempt', '=', attempt).returning('run_id')
}
