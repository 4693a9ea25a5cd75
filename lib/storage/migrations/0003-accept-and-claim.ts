import { sql, type Kysely } from 'kysely'

/**
 * A message is accepted, and a run claimed, in one call each. Both lock the row of the thread first, as the append does: what
 * happens in one thread happens one after the other, in every process. Read committed is required, since what another
 * transaction did while this one waited for the row must be seen.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await createAcceptMessage(db)
  await createClaimNext(db)
}

async function createAcceptMessage (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.accept_message(
      p_message_id uuid, p_run_id text, p_thread_id uuid, p_new_thread boolean, p_content text, p_metadata json,
      p_client_id text, p_agent text, p_context json, p_strategy text, p_traceparent text, p_max_waiting integer,
      p_request_id uuid, p_connection_id text
    ) returns table (
      message_id uuid, run_id text, duplicate boolean, standing bigint,
      thread_id uuid, user_id text, title text, created_at timestamptz, updated_at timestamptz
    ) language plpgsql as $$
    #variable_conflict use_column
    declare
      owner_id text := threadline.current_user_id();
      known record;
      thread threadline.threads;
      waiting bigint;
      turn bigint;
    begin
      if p_client_id is not null then
        -- Two copies of one message may arrive at once, and new threads have no row in common that could be locked.
        perform pg_advisory_xact_lock(hashtextextended(owner_id || chr(31) || p_client_id, 0));
        select m.message_id, m.run_id, m.thread_id, m.turn, m.content into known
          from threadline.messages m where m.user_id = owner_id and m.client_id = p_client_id;
        if found then
          if known.content <> p_content then
            raise exception 'The client id was used for another message' using errcode = 'TL005';
          end if;
          select * into thread from threadline.threads t
            where t.thread_id = known.thread_id and t.user_id = owner_id and t.deleted_at is null;
          if not found then
            raise exception 'There is no such thread' using errcode = 'TL002';
          end if;
          select count(*) into waiting from threadline.runs r
            where r.thread_id = known.thread_id and r.user_id = owner_id and r.status in ('queued', 'running')
              and r.ordinal < known.turn;
          return query select known.message_id, known.run_id, true, waiting,
            thread.thread_id, thread.user_id, thread.title, thread.created_at, thread.updated_at;
          return;
        end if;
      end if;

      if p_new_thread then
        insert into threadline.threads (thread_id, user_id) values (p_thread_id, owner_id) returning * into thread;
      else
        update threadline.threads t set updated_at = now()
          where t.thread_id = p_thread_id and t.user_id = owner_id and t.deleted_at is null returning * into thread;
        if not found then
          raise exception 'There is no such thread' using errcode = 'TL002';
        end if;
      end if;

      select count(*) into waiting from threadline.runs r
        where r.thread_id = p_thread_id and r.user_id = owner_id and r.status in ('queued', 'running');
      if p_strategy = 'reject' and waiting > 0 then
        raise exception 'A run is unfinished in this thread' using errcode = 'TL003';
      elsif waiting > p_max_waiting then
        raise exception 'Too many runs wait in this thread' using errcode = 'TL004';
      end if;

      insert into threadline.runs
        (run_id, thread_id, user_id, message_id, request_id, connection_id, agent, input, context, traceparent)
        values (p_run_id, p_thread_id, owner_id, p_message_id, p_request_id, p_connection_id, p_agent, p_content, p_context,
          p_traceparent)
        returning ordinal into turn;
      insert into threadline.messages (thread_id, message_id, user_id, run_id, turn, role, content, metadata, client_id)
        values (p_thread_id, p_message_id, owner_id, p_run_id, turn, 'user', p_content, p_metadata, p_client_id);

      return query select p_message_id, p_run_id, false, waiting,
        thread.thread_id, thread.user_id, thread.title, thread.created_at, thread.updated_at;
    end $$`.execute(db)
  await allow(db, 'accept_message')
}

async function createClaimNext (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.claim_next(p_thread_id uuid) returns setof threadline.runs language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
    begin
      perform 1 from threadline.threads t
        where t.thread_id = p_thread_id and t.user_id = owner_id and t.deleted_at is null for no key update;
      if not found then
        return;
      end if;
      return query
        update threadline.runs r set status = 'running', attempt = r.attempt + 1, started_at = coalesce(r.started_at, now())
        where r.run_id = (
            select q.run_id from threadline.runs q
            where q.thread_id = p_thread_id and q.user_id = owner_id and q.status = 'queued'
            order by q.ordinal limit 1
          )
          and not exists (
            select 1 from threadline.runs q
            where q.thread_id = p_thread_id and q.user_id = owner_id and q.status = 'running'
          )
        returning r.*;
    end $$`.execute(db)
  await allow(db, 'claim_next')
}

async function allow (db: Kysely<unknown>, name: string): Promise<void> {
  await sql`revoke all on function ${sql.id('threadline', name)} from public`.execute(db)
  await sql`grant execute on function ${sql.id('threadline', name)} to threadline_app`.execute(db)
}
