import { sql, type Kysely } from 'kysely'
import { withoutForce } from './without-force.ts'

/**
 * What the tree of a thread's messages needs beside its columns: how a thread is locked, where the newest branch through a message ends, and
 * how that branch becomes the visible one. Whatever writes into the tree locks the row of the thread first, as the append does, and is in
 * read committed, since what another transaction did while this one waited for the row must be seen.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await giveClientIdsToRuns(db)
  await createLockThread(db)
  await createNewestLeaf(db)
  await createSelectBranch(db)
  await sql`
    revoke all on function threadline.lock_thread, threadline.newest_leaf, threadline.select_branch from public`.execute(db)
  await sql`
    grant execute on function threadline.lock_thread, threadline.newest_leaf, threadline.select_branch to threadline_app
  `.execute(db)
}

// A message can be removed, and must not be accepted again when it comes once more. `messages_in_order` was for threads that are no trees.
async function giveClientIdsToRuns (db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table threadline.runs add column client_id text, add column answers_again boolean not null default false`.execute(db)
  await withoutForce(db, ['runs', 'messages'], async () => {
    await sql`
      update threadline.runs r set client_id = m.client_id
        from threadline.messages m where m.run_id = r.run_id and m.role = 'user' and m.client_id is not null`.execute(db)
  })
  await sql`alter table threadline.messages drop column client_id`.execute(db)
  await sql`drop index threadline.messages_in_order`.execute(db)
  await sql`create unique index runs_client_id on threadline.runs (user_id, client_id) where client_id is not null`.execute(db)
  await sql`create index runs_again on threadline.runs (thread_id, message_id) where answers_again`.execute(db)
}

async function createLockThread (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.lock_thread(p_thread_id uuid) returns threadline.threads language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      thread threadline.threads;
    begin
      select * into thread from threadline.threads t
        where t.thread_id = p_thread_id and t.user_id = owner_id and t.deleted_at is null for no key update;
      if not found then
        raise exception 'There is no such thread' using errcode = 'TL002';
      end if;
      return thread;
    end $$`.execute(db)
}

// From a message on to the newest of those that follow it, again and again; without a message from the beginning on.
async function createNewestLeaf (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.newest_leaf(p_thread_id uuid, p_message_id uuid) returns uuid language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      leaf uuid := p_message_id;
      following uuid;
    begin
      if leaf is null then
        select m.message_id into leaf from threadline.messages m
          where m.thread_id = p_thread_id and m.user_id = owner_id and m.parent_id is null order by m.ordinal desc limit 1;
      end if;
      for step in 1 .. 100000 loop
        select m.message_id into following from threadline.messages m
          where m.thread_id = p_thread_id and m.user_id = owner_id and m.parent_id = leaf order by m.ordinal desc limit 1;
        exit when not found;
        leaf := following;
      end loop;
      return leaf;
    end $$`.execute(db)
}

async function createSelectBranch (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.select_branch(p_thread_id uuid, p_message_id uuid) returns void language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
    begin
      perform threadline.lock_thread(p_thread_id);
      perform 1 from threadline.messages m
        where m.thread_id = p_thread_id and m.user_id = owner_id and m.message_id = p_message_id;
      if not found then
        raise exception 'There is no such message' using errcode = 'TL006';
      end if;
      update threadline.threads t set head_message_id = threadline.newest_leaf(p_thread_id, p_message_id)
        where t.thread_id = p_thread_id and t.user_id = owner_id;
    end $$`.execute(db)
}
