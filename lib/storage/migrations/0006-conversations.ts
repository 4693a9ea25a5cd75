import { sql, type Kysely } from 'kysely'
import { withoutForce } from './without-force.ts'

/**
 * A thread becomes a tree: each message names the one that it follows, and the thread names the head of the visible branch. Messages of a
 * thread that was made out of another one have no run. Threads get metadata, an archive, and the sequence up to which events are not
 * kept any more.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table threadline.threads
      add column metadata json not null default '{}',
      add column archived_at timestamptz,
      add column head_message_id uuid,
      add column kept_after bigint not null default 0`.execute(db)
  await sql`alter table threadline.messages add column parent_id uuid, alter column run_id drop not null`.execute(db)

  await withoutForce(db, ['messages', 'threads'], async () => { await growTrees(db) })

  // Partial, so that a message which is looked for by its id is found by its key only. `ordinal` is for the newest of those that follow.
  await sql`
    create index messages_by_parent on threadline.messages (thread_id, parent_id, ordinal) where parent_id is not null
  `.execute(db)
  await sql`create index messages_at_beginning on threadline.messages (thread_id, ordinal) where parent_id is null`.execute(db)

  await sql`
    grant update (metadata, archived_at, head_message_id, kept_after) on threadline.threads to threadline_app
  `.execute(db)
  await sql`grant update (parent_id), delete on threadline.messages to threadline_app`.execute(db)
}

// What a thread was until now is one branch. The owner of the tables also reads the rows to see that the foreign key holds.
async function growTrees (db: Kysely<unknown>): Promise<void> {
  await sql`
    update threadline.messages m set parent_id = before.message_id
      from (
        select thread_id, message_id as following, lag(message_id) over (partition by thread_id order by turn, ordinal) as message_id
        from threadline.messages
      ) before
      where before.thread_id = m.thread_id and before.following = m.message_id and before.message_id is not null`.execute(db)
  await sql`
    update threadline.threads t set head_message_id = (
      select message_id from threadline.messages m where m.thread_id = t.thread_id order by turn desc, ordinal desc limit 1
    )`.execute(db)
  await sql`
    alter table threadline.messages add constraint messages_parent_fkey
      foreign key (thread_id, parent_id) references threadline.messages (thread_id, message_id)`.execute(db)
}
