import { sql } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import type { AccountStore, Erased, Usage } from '../stores/account-store.ts'
import { storableText } from './storable-text.ts'
import { query } from './tables.ts'
import { onlyRow } from './thread-view.ts'
import type { UnitOfWork, UnitsOfWork } from './unit-of-work.ts'

/** Beside the steps of a run, which count from 0. */
const besideTheSteps = -1

/** All that is kept of the active user, deleted threads included until they are purged. */
export function createAccountStore (units: UnitsOfWork): AccountStore {
  return {
    usage: async () => await units.asUser(readUsage),

    recordUsage: async ({ runId, threadId, model, inputTokens, outputTokens }) => await units.asUser(async (unit) => {
      const { userId } = currentIdentity()
      // The lock on the thread's row keeps it there until this is stored.
      onlyRow(await unit.lastRows(sql`
        insert into threadline.usage as u (run_id, step, thread_id, user_id, model, input_tokens, output_tokens)
          select ${runId}, ${sql.lit(besideTheSteps)}, t.thread_id, t.user_id, ${storableText(model, 'model')},
            ${inputTokens}::bigint, ${outputTokens}::bigint
          from threadline.threads t
          where t.thread_id = ${threadId} and t.user_id = ${userId} and t.deleted_at is null for key share
        on conflict (run_id, step) do update
          set input_tokens = u.input_tokens + excluded.input_tokens, output_tokens = u.output_tokens + excluded.output_tokens
        returning u.run_id`))
    }),

    erase: async () => await units.asUser(async (unit) => {
      return onlyRow(await unit.lastRows(sql<Erased>`select * from threadline.erase_user()`))
    })
  }
}

// Counted thread by thread: the tables have no index on the user alone. Every thread is `listed` or `deleted`, which the indexes need.
async function readUsage (unit: UnitOfWork): Promise<Usage> {
  const { userId } = currentIdentity()
  const ofThread = (table: 'messages' | 'runs') => sql`
    (select count(*) from ${sql.table(`threadline.${table}`)} x where x.thread_id = t.thread_id and x.user_id = ${userId})`
  const [counted, models] = await Promise.all([
    unit.rows(sql<Omit<Usage, 'models'>>`
      select count(*) as threads, coalesce(sum(${ofThread('messages')}), 0)::bigint as messages,
        coalesce(sum(${ofThread('runs')}), 0)::bigint as runs
      from threadline.threads t where t.user_id = ${userId} and (t.listed or t.deleted)`),
    unit.lastRows(query.selectFrom('usage').where('user_id', '=', userId).groupBy('model').orderBy('model').select([
      'model',
      sql<number>`sum(input_tokens)::bigint`.as('inputTokens'),
      sql<number>`sum(output_tokens)::bigint`.as('outputTokens')
    ]))
  ])
  return { ...onlyRow(counted), models }
}
