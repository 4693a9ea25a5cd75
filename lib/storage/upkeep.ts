import { sql } from 'kysely'
import type { Upkeep } from '../stores/upkeep.ts'
import { query } from './tables.ts'
import type { UnitOfWork, UnitsOfWork } from './unit-of-work.ts'

interface Candidate { readonly thread_id: string, readonly user_id: string }

/** Events that are taken away in one transaction, so that none is long. */
const maxEvents = 5_000
/** Events among which those are looked for whose threads come next. */
const maxAged = 10_000
const maxTickets = 1_000
const maxWindows = 20_000

/**
 * The role of the system finds out which threads there is something to do in; each is then worked on in a transaction of its own, in the
 * name of its own user, where everything is checked again under the lock of its row.
 */
export function createUpkeep (units: UnitsOfWork): Upkeep {
  return {
    async purge ({ deletedBefore, eventsBefore, limit, signal }) {
      const deleted = await units.asSystem(async (unit) => await deletedThreads(unit, deletedBefore, limit))
      const threads = await eachThread(units, deleted, signal, (thread) => purgeThread(thread, deletedBefore))
      const events = eventsBefore === undefined ? 0 : await expire(units, eventsBefore, limit, signal)
      await units.asSystem(dropExpiredTickets)
      await units.asSystem(dropEmptyWindows)
      return { threads, events }
    }
  }
}

async function expire (units: UnitsOfWork, before: Date, limit: number, signal: AbortSignal | undefined): Promise<number> {
  const aged = await units.asSystem(async (unit) => await threadsOfAgedEvents(unit, before, limit))
  return await eachThread(units, aged, signal, (thread) => expireEvents(thread, before))
}

/** Works on each thread until nothing is left to do in it, or the signal is aborted. The sum of what was done. */
async function eachThread (
  units: UnitsOfWork, threads: readonly Candidate[], signal: AbortSignal | undefined, work: (thread: Candidate) => ReturnType<typeof purgeThread>
): Promise<number> {
  let sum = 0
  for (const thread of threads) {
    let more = true
    while (more && signal?.aborted !== true) {
      const [step] = await units.asOwners(async (unit) => await unit.lastRows(work(thread)))
      sum += step?.done ?? 0
      more = step?.more ?? false
    }
  }
  return sum
}

function purgeThread ({ user_id: userId, thread_id: threadId }: Candidate, deletedBefore: Date) {
  return sql<{ done: number, more: boolean }>`
    select coalesce(done, 0) as done, done is null as more
    from threadline.purge_thread(${userId}, ${threadId}, ${deletedBefore.toISOString()}, ${sql.lit(maxEvents)}) done`
}

function expireEvents ({ user_id: userId, thread_id: threadId }: Candidate, before: Date) {
  return sql<{ done: number, more: boolean }>`
    select done, done = ${sql.lit(maxEvents)} as more
    from threadline.expire_events(${userId}, ${threadId}, ${before.toISOString()}, ${sql.lit(maxEvents)}) done`
}

async function deletedThreads (unit: UnitOfWork, before: Date, limit: number): Promise<readonly Candidate[]> {
  return await unit.lastRows(query.selectFrom('threads').select(['thread_id', 'user_id'])
    .where('deleted', '=', true).where('deleted_at', '<', before.toISOString()).orderBy('deleted_at').limit(limit))
}

// Those with an unfinished run are passed over, so that they do not keep the others from their turn.
async function threadsOfAgedEvents (unit: UnitOfWork, before: Date, limit: number): Promise<readonly Candidate[]> {
  return await unit.lastRows(sql<Candidate>`
    select thread_id, user_id from (
      select e.thread_id, e.user_id, e.created_at from threadline.run_events e
      where e.created_at < ${before.toISOString()} and not exists (
        select 1 from threadline.runs r
        where r.thread_id = e.thread_id and r.user_id = e.user_id and r.status in ('queued', 'running')
      )
      order by e.created_at limit ${sql.lit(maxAged)}
    ) aged
    group by thread_id, user_id order by min(created_at) limit ${limit}`)
}

async function dropExpiredTickets (unit: UnitOfWork): Promise<void> {
  await unit.lastRows(sql`
    delete from threadline.tickets where secret_hash in (
      select secret_hash from threadline.tickets where expires_at <= ${new Date().toISOString()}
      limit ${sql.lit(maxTickets)} for update skip locked
    )`)
}

async function dropEmptyWindows (unit: UnitOfWork): Promise<void> {
  await unit.lastRows(sql`
    delete from threadline.message_windows where (user_id, window_ms) in (
      select user_id, window_ms from threadline.message_windows where over_at <= now()
      limit ${sql.lit(maxWindows)} for update skip locked
    )`)
}
