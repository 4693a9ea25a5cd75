import { sql, type Kysely } from 'kysely'

/**
 * What the nodes of one service have in common beside the users' own rows: the key that they sign with, where each thread stands, and how
 * much each user has sent lately. Only the role of the system reads it.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await createSecrets(db)
  await createMessageWindows(db)
  await createAdmitMessages(db)
  await forgetWindowsWithUser(db)
  // The position of a thread, for who follows it; what is in it stays out of sight.
  await sql`
    create policy positions on threadline.threads for select to threadline_system using (current_user = 'threadline_system')
  `.execute(db)
  await sql`grant select (last_sequence) on threadline.threads to threadline_system`.execute(db)
}

async function createSecrets (db: Kysely<unknown>): Promise<void> {
  await sql`
    create table threadline.secrets (
      name text primary key,
      value bytea not null,
      created_at timestamptz not null default now()
    )`.execute(db)
  await protect(db, 'secrets')
  await sql`grant select, insert on threadline.secrets to threadline_system`.execute(db)
}

/**
 * One row a user, not logged: after a crash everybody begins with an empty window. `counts` are those of the newest part of the window and of the
 * ten before it, a tenth of the window each, so that they always cover a whole one; `newest` numbers the parts. `over_at` is when
 * nothing of it counts any more.
 */
async function createMessageWindows (db: Kysely<unknown>): Promise<void> {
  await sql`
    create unlogged table threadline.message_windows (
      user_id text not null,
      window_ms integer not null,
      newest bigint not null,
      counts integer[] not null,
      over_at timestamptz not null,
      primary key (user_id, window_ms)
    ) with (fillfactor = 60)`.execute(db)
  await protect(db, 'message_windows')
  await sql`grant select, insert, update, delete on threadline.message_windows to threadline_system`.execute(db)
}

// Users are taken in the order of their ids, so that two calls never wait for each other in a circle.
async function createAdmitMessages (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.slide(p_counts integer[], p_parts bigint) returns integer[] language sql immutable parallel safe as $$
      select (array_fill(0, array[least(greatest(p_parts, 0), 11)::integer]) || p_counts)[1:11]
    $$`.execute(db)
  await sql`
    create function threadline.admit_messages(p_user_ids text[], p_counts integer[], p_limit integer, p_window_ms integer)
    returns boolean[] language plpgsql as $$
    declare
      frames record;
      part bigint := floor(extract(epoch from clock_timestamp()) * 10000 / p_window_ms);
      ends timestamptz := clock_timestamp() + p_window_ms * interval '1.2 milliseconds';
      admitted boolean[] := array_fill(false, array[cardinality(p_user_ids)]);
    begin
      for frames in
        select f.user_id, f.count, f.place from unnest(p_user_ids, p_counts) with ordinality f (user_id, count, place)
        order by f.user_id, f.place
      loop
        insert into threadline.message_windows as w (user_id, window_ms, newest, counts, over_at)
          select frames.user_id, p_window_ms, part, frames.count || array_fill(0, array[10]), ends where frames.count <= p_limit
          on conflict (user_id, window_ms) do update
            set newest = greatest(w.newest, part), over_at = excluded.over_at,
              counts = (threadline.slide(w.counts, part - w.newest))[1] + frames.count || (threadline.slide(w.counts, part - w.newest))[2:11]
            where (select sum(c) from unnest(threadline.slide(w.counts, part - w.newest)) c) + frames.count <= p_limit;
        admitted[frames.place] := found;
      end loop;
      return admitted;
    end $$`.execute(db)
  await sql`
    revoke all on function threadline.slide(integer[], bigint), threadline.admit_messages(text[], integer[], integer, integer) from public
  `.execute(db)
  await sql`
    grant execute on function threadline.slide(integer[], bigint), threadline.admit_messages(text[], integer[], integer, integer)
      to threadline_system`.execute(db)
}

// An erased user leaves nothing behind, not even how much was sent lately.
async function forgetWindowsWithUser (db: Kysely<unknown>): Promise<void> {
  await sql`
    create policy own_windows on threadline.message_windows to threadline_app using (user_id = threadline.current_user_id())
  `.execute(db)
  await sql`grant select (user_id), delete on threadline.message_windows to threadline_app`.execute(db)
  await sql`
    create or replace function threadline.erase_user() returns threadline.deleted_rows language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      thread_ids uuid[];
    begin
      thread_ids := array(
        select t.thread_id from threadline.threads t
          where t.user_id = owner_id and (t.listed or t.deleted) order by t.thread_id for update
      );
      delete from threadline.tickets t where t.user_id = owner_id;
      delete from threadline.message_windows w where w.user_id = owner_id;
      return threadline.delete_threads(thread_ids);
    end $$`.execute(db)
}

async function protect (db: Kysely<unknown>, table: 'secrets' | 'message_windows'): Promise<void> {
  const name = sql.id('threadline', table)
  await sql`alter table ${name} enable row level security`.execute(db)
  await sql`alter table ${name} force row level security`.execute(db)
  await sql`create policy of_the_system on ${name} to threadline_system using (current_user = 'threadline_system')`.execute(db)
}
