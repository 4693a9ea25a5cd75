import { sql, type Kysely } from 'kysely'

/**
 * The id of a run names its thread, and the row must name the same one: nobody works on a run for which that is not so, and it would hold up
 * the thread that it was put into. Rows that there are were all written so, and are not read for it.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table threadline.runs
      add constraint runs_in_their_thread check (left(run_id, 41) = 'run_' || thread_id::text || '_') not valid`.execute(db)
}
