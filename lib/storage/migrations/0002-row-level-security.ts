import { sql, type Kysely } from 'kysely'

const tables = ['threads', 'runs', 'messages', 'run_events', 'approvals', 'usage', 'tickets']

/**
 * Row-level security, enabled and forced on every table. `threadline_app` sees the rows of the user that the transaction has
 * named, and `threadline.current_user_id()` raises when it has named none: a forgotten identity is an error and never an
 * empty list. The same policy binds the owner of the tables, so that a query without a role is refused as well.
 * `threadline_system` reads unfinished runs and takes tickets; it can do nothing else.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.current_user_id() returns text language plpgsql stable parallel safe as $$
    declare
      id text := current_setting('threadline.user_id', true);
    begin
      if id is null or id = '' then
        raise exception 'No user is set in this transaction' using errcode = 'TL001';
      end if;
      return id;
    end $$`.execute(db)

  for (const table of tables) {
    const name = sql.id('threadline', table)
    await sql`alter table ${name} enable row level security`.execute(db)
    await sql`alter table ${name} force row level security`.execute(db)
    await sql`
      create policy own_rows on ${name} to threadline_app, current_user
        using (user_id = threadline.current_user_id()) with check (user_id = threadline.current_user_id())
    `.execute(db)
  }

  // The role is compared as well, because a policy for a role also holds for its members, and the owner is one.
  await sql`
    create policy unfinished_runs on threadline.runs for select to threadline_system
      using (current_user = 'threadline_system' and status in ('queued', 'running'))
  `.execute(db)
  await sql`
    create policy all_tickets on threadline.tickets to threadline_system using (current_user = 'threadline_system')
  `.execute(db)

  await grant(db)
}

async function grant (db: Kysely<unknown>): Promise<void> {
  await sql`revoke all on function threadline.current_user_id() from public`.execute(db)
  await sql`grant usage on schema threadline to threadline_app, threadline_system`.execute(db)
  await sql`grant execute on function threadline.current_user_id() to threadline_app`.execute(db)
  await sql`grant select, insert on threadline.threads, threadline.runs, threadline.messages, threadline.run_events,
    threadline.approvals, threadline.usage to threadline_app`.execute(db)
  await sql`grant insert on threadline.tickets to threadline_app`.execute(db)
  await sql`grant update (title, last_sequence, updated_at, deleted_at) on threadline.threads to threadline_app`.execute(db)
  await sql`
    grant update (status, attempt, started_at, finished_at, error) on threadline.runs to threadline_app
  `.execute(db)
  await sql`grant update (decision, note, decided_at) on threadline.approvals to threadline_app`.execute(db)

  await sql`grant select on threadline.runs to threadline_system`.execute(db)
  await sql`grant select, update, delete on threadline.tickets to threadline_system`.execute(db)
}
