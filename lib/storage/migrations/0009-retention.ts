import { sql, type Kysely } from 'kysely'

/**
 * What takes rows away for good: the purge of deleted threads, the events that are kept no longer, and the erasure of a user. All of it
 * happens in the name of the threads' own user, under row-level security, and locks the rows of the threads first, in the order of their
 * ids as the append does.
 *
 * The role of the system finds out what there is to do: whose threads are deleted, and whose events are how old. It sees nothing in them.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  // Without these each thread that is taken away would be looked for in the whole table, by its foreign key.
  await sql`create index usage_of_user on threadline.usage (user_id, thread_id)`.execute(db)
  await sql`create index approvals_of_thread on threadline.approvals (thread_id)`.execute(db)
  await sql`create index threads_by_deletion on threadline.threads (deleted_at) where deleted`.execute(db)
  await sql`create index run_events_by_age on threadline.run_events (created_at)`.execute(db)

  await createDeleteThreads(db)
  await createEraseUser(db)
  await createDropEvents(db)
  await createPurgeThread(db)
  await createExpireEvents(db)
  await allowUsers(db)
  await allowSystem(db)
}

// The one place that knows every table that hangs on a thread, those that hang on others first.
async function createDeleteThreads (db: Kysely<unknown>): Promise<void> {
  await sql`
    create type threadline.deleted_rows as (threads bigint, messages bigint, runs bigint, events bigint)`.execute(db)
  await sql`
    create function threadline.delete_threads(p_thread_ids uuid[]) returns threadline.deleted_rows language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      deleted threadline.deleted_rows;
    begin
      delete from threadline.usage u where u.user_id = owner_id and u.thread_id = any (p_thread_ids);
      delete from threadline.approvals a where a.user_id = owner_id and a.thread_id = any (p_thread_ids);
      delete from threadline.run_events e where e.user_id = owner_id and e.thread_id = any (p_thread_ids);
      get diagnostics deleted.events = row_count;
      delete from threadline.messages m where m.user_id = owner_id and m.thread_id = any (p_thread_ids);
      get diagnostics deleted.messages = row_count;
      delete from threadline.runs r where r.user_id = owner_id and r.thread_id = any (p_thread_ids);
      get diagnostics deleted.runs = row_count;
      delete from threadline.threads t where t.user_id = owner_id and t.thread_id = any (p_thread_ids);
      get diagnostics deleted.threads = row_count;
      return deleted;
    end $$`.execute(db)
}

// A thread that is made meanwhile is not among the locked ones, and is as if it were made afterwards. Every thread is `listed` or
// `deleted`, by which the indexes find those of a user.
async function createEraseUser (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.erase_user() returns threadline.deleted_rows language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      thread_ids uuid[];
    begin
      thread_ids := array(
        select t.thread_id from threadline.threads t
          where t.user_id = owner_id and (t.listed or t.deleted) order by t.thread_id for update
      );
      delete from threadline.tickets t where t.user_id = owner_id;
      return threadline.delete_threads(thread_ids);
    end $$`.execute(db)
}

/** Takes a thread's first events away up to a sequence. Its row must be locked. */
async function createDropEvents (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.drop_events(thread threadline.threads, p_up_to bigint) returns bigint language plpgsql as $$
    declare
      dropped bigint;
    begin
      delete from threadline.run_events e
        where e.thread_id = thread.thread_id and e.user_id = thread.user_id and e.sequence <= p_up_to;
      get diagnostics dropped = row_count;
      update threadline.threads t set kept_after = p_up_to
        where t.thread_id = thread.thread_id and t.user_id = thread.user_id and t.kept_after < p_up_to;
      return dropped;
    end $$`.execute(db)
}

/**
 * Takes a deleted thread away, or the next `p_max_events` of its events when it has more: null while something is left, so that no
 * transaction is long. A thread that was restored meanwhile stays.
 */
async function createPurgeThread (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.purge_thread(p_user_id text, p_thread_id uuid, p_deleted_before timestamptz, p_max_events bigint)
    returns bigint language plpgsql as $$
    declare
      thread threadline.threads;
    begin
      perform set_config('threadline.user_id', p_user_id, true);
      select * into thread from threadline.threads t
        where t.thread_id = p_thread_id and t.user_id = p_user_id and t.deleted_at < p_deleted_before for update;
      if not found then
        return 0;
      elsif thread.last_sequence > thread.kept_after + p_max_events then
        perform threadline.drop_events(thread, thread.kept_after + p_max_events);
        return null;
      end if;
      return (threadline.delete_threads(array[p_thread_id])).threads;
    end $$`.execute(db)
}

/** Takes the oldest events of a thread away, at most `p_max_events`, unless a run is unfinished: it still needs them. */
async function createExpireEvents (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.expire_events(p_user_id text, p_thread_id uuid, p_before timestamptz, p_max_events bigint)
    returns bigint language plpgsql as $$
    declare
      thread threadline.threads;
      kept bigint;
    begin
      perform set_config('threadline.user_id', p_user_id, true);
      select * into thread from threadline.threads t
        where t.thread_id = p_thread_id and t.user_id = p_user_id for no key update;
      if not found then
        return 0;
      end if;
      perform 1 from threadline.runs r
        where r.thread_id = p_thread_id and r.user_id = p_user_id and r.status in ('queued', 'running');
      if found then
        return 0;
      end if;
      select e.sequence into kept from threadline.run_events e
        where e.thread_id = p_thread_id and e.user_id = p_user_id and e.created_at >= p_before
          and e.sequence > thread.kept_after and e.sequence <= thread.kept_after + p_max_events
        order by e.sequence limit 1;
      return threadline.drop_events(thread, coalesce(kept - 1, least(thread.kept_after + p_max_events, thread.last_sequence)));
    end $$`.execute(db)
}

async function allowUsers (db: Kysely<unknown>): Promise<void> {
  await sql`
    grant delete on threadline.threads, threadline.runs, threadline.run_events, threadline.approvals, threadline.usage,
      threadline.tickets to threadline_app`.execute(db)
  await sql`grant select (user_id) on threadline.tickets to threadline_app`.execute(db)
  await sql`grant update (input_tokens, output_tokens) on threadline.usage to threadline_app`.execute(db)
  await sql`
    revoke all on function threadline.delete_threads, threadline.erase_user, threadline.drop_events, threadline.purge_thread,
      threadline.expire_events from public`.execute(db)
  await sql`
    grant execute on function threadline.delete_threads, threadline.erase_user, threadline.drop_events, threadline.purge_thread,
      threadline.expire_events to threadline_app`.execute(db)
}

async function allowSystem (db: Kysely<unknown>): Promise<void> {
  await sql`
    create policy deleted_threads on threadline.threads for select to threadline_system
      using (current_user = 'threadline_system' and deleted)`.execute(db)
  await sql`grant select (thread_id, user_id, deleted, deleted_at) on threadline.threads to threadline_system`.execute(db)
  await sql`
    create policy age_of_events on threadline.run_events for select to threadline_system
      using (current_user = 'threadline_system')`.execute(db)
  await sql`grant select (thread_id, user_id, created_at) on threadline.run_events to threadline_system`.execute(db)
}
