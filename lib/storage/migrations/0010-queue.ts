import { sql, type Kysely } from 'kysely'

/**
 * The runs as a queue of several processes. A running run has a worker and a lease, counted by the database's clock alone; when the lease is
 * over, the next claim takes the run over and counts its attempt, by which everything that the stale execution still writes is refused.
 *
 * What earlier versions call stays as it was, so that they work beside this one: the new parameters come as overloads, and no type that they use
 * gets another shape. A run that an earlier version has claimed has no lease; see `lease_end`.
 *
 * There is no index on the lease: it changes all the time, and without one a renewal stays within the row's page.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table threadline.runs
      add column signature text,
      add column worker text,
      add column lease_until timestamptz,
      add column given_back integer not null default 0,
      add column stop_reason text`.execute(db)
  await sql`alter table threadline.runs set (fillfactor = 80)`.execute(db)
  await createLeaseEnd(db)
  await createClaimNext(db)
  await allow(db)
}

// A run of an earlier version is left to it for longer than a run may take (`RUN_TIMEOUT_MS`, as it comes). After that its process is gone, and the
// thread would wait for it for ever.
async function createLeaseEnd (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.lease_end(p_lease_until timestamptz, p_started_at timestamptz) returns timestamptz
    language sql stable parallel safe as $$
      select coalesce(p_lease_until, p_started_at + interval '10 minutes')
    $$`.execute(db)
}

// A lease may be renewed while this waits for the row: the condition is asked again of what the row is then.
async function createClaimNext (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.claim_next(p_thread_id uuid, p_worker text, p_lease_ms integer) returns setof threadline.runs
    language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
    begin
      perform 1 from threadline.threads t
        where t.thread_id = p_thread_id and t.user_id = owner_id and t.deleted_at is null for no key update;
      if not found then
        return;
      end if;
      return query
        update threadline.runs r set status = 'running', attempt = r.attempt + 1, started_at = coalesce(r.started_at, now()),
            worker = p_worker, lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
          where r.user_id = owner_id and r.run_id = (
              select q.run_id from threadline.runs q
              where q.thread_id = p_thread_id and q.user_id = owner_id and q.status in ('queued', 'running')
              order by q.status = 'running' desc, q.ordinal limit 1
            )
            and (r.status = 'queued' or r.status = 'running' and threadline.lease_end(r.lease_until, r.started_at) <= clock_timestamp())
          returning r.*;
    end $$`.execute(db)
}

// The system renews leases of every user, and changes nothing else of a run.
async function allow (db: Kysely<unknown>): Promise<void> {
  await sql`
    revoke all on function threadline.lease_end(timestamptz, timestamptz), threadline.claim_next(uuid, text, integer) from public
  `.execute(db)
  await sql`
    grant execute on function threadline.lease_end(timestamptz, timestamptz), threadline.claim_next(uuid, text, integer) to threadline_app
  `.execute(db)
  await sql`grant update (worker, lease_until, given_back, stop_reason) on threadline.runs to threadline_app`.execute(db)

  await sql`
    create policy leases on threadline.runs for update to threadline_system
      using (current_user = 'threadline_system' and status = 'running')
      with check (current_user = 'threadline_system' and status = 'running')`.execute(db)
  await sql`grant update (lease_until) on threadline.runs to threadline_system`.execute(db)
  await sql`grant execute on function threadline.lease_end(timestamptz, timestamptz) to threadline_system`.execute(db)
}
