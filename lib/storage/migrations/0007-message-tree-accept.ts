import { sql, type Kysely } from 'kysely'

/**
 * A message is accepted, or answered once more, in one call each. Both lock the row of the thread first, as the append does: what
 * happens in one thread happens one after the other, in every process.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    create type threadline.acceptance as (
      message_id uuid, run_id text, duplicate boolean, standing bigint,
      thread_id uuid, user_id text, title text, metadata json, created_at timestamptz, updated_at timestamptz,
      archived_at timestamptz, deleted_at timestamptz
    )`.execute(db)
  await createKnownRun(db)
  await createAdmitRun(db)
  await createAcceptMessage(db)
  await createMessageToAnswer(db)
  await createRegenerateMessage(db)
  await sql`
    revoke all on function threadline.acceptance_of, threadline.known_run, threadline.accepted_before, threadline.admit_run,
      threadline.accept_message, threadline.message_to_answer, threadline.regenerate_message from public`.execute(db)
  await sql`
    grant execute on function threadline.acceptance_of, threadline.known_run, threadline.accepted_before, threadline.admit_run,
      threadline.accept_message, threadline.message_to_answer, threadline.regenerate_message to threadline_app`.execute(db)
}

// Two copies of one command may arrive at once, and new threads have no row in common that could be locked.
async function createKnownRun (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.known_run(p_client_id text) returns threadline.runs language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      known threadline.runs;
    begin
      if p_client_id is not null then
        perform pg_advisory_xact_lock(hashtextextended(owner_id || chr(31) || p_client_id, 0));
        select * into known from threadline.runs r where r.user_id = owner_id and r.client_id = p_client_id;
      end if;
      return known;
    end $$`.execute(db)
  await sql`
    create function threadline.acceptance_of(run threadline.runs, thread threadline.threads, duplicate boolean, standing bigint)
    returns threadline.acceptance language sql as $$
      select run.message_id, run.run_id, duplicate, standing, thread.thread_id, thread.user_id, thread.title, thread.metadata,
        thread.created_at, thread.updated_at, thread.archived_at, thread.deleted_at
    $$`.execute(db)
  await sql`
    create function threadline.accepted_before(known threadline.runs) returns threadline.acceptance language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      thread threadline.threads;
      standing bigint;
    begin
      select * into thread from threadline.threads t
        where t.thread_id = known.thread_id and t.user_id = owner_id and t.deleted_at is null;
      if not found then
        raise exception 'There is no such thread' using errcode = 'TL002';
      end if;
      select count(*) into standing from threadline.runs r
        where r.thread_id = known.thread_id and r.user_id = owner_id and r.status in ('queued', 'running')
          and r.ordinal < known.ordinal;
      return threadline.acceptance_of(known, thread, true, standing);
    end $$`.execute(db)
}

// The runs that an interrupting one ends are still unfinished here, and count.
async function createAdmitRun (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.admit_run(p_thread_id uuid, p_strategy text, p_max_waiting integer) returns bigint
    language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      standing bigint;
    begin
      select count(*) into standing from threadline.runs r
        where r.thread_id = p_thread_id and r.user_id = owner_id and r.status in ('queued', 'running');
      if p_strategy = 'reject' and standing > 0 then
        raise exception 'A run is unfinished in this thread' using errcode = 'TL003';
      elsif standing > p_max_waiting then
        raise exception 'Too many runs wait in this thread' using errcode = 'TL004';
      end if;
      return standing;
    end $$`.execute(db)
}

async function createAcceptMessage (db: Kysely<unknown>): Promise<void> {
  await sql`
    drop function threadline.accept_message(
      uuid, text, uuid, boolean, text, json, text, text, json, text, text, integer, uuid, text)`.execute(db)
  await sql`
    create function threadline.accept_message(
      p_message_id uuid, p_run_id text, p_thread_id uuid, p_new_thread boolean, p_edit_of uuid, p_content text, p_metadata json,
      p_client_id text, p_agent text, p_context json, p_strategy text, p_traceparent text, p_max_waiting integer,
      p_request_id uuid, p_connection_id text
    ) returns threadline.acceptance language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      run threadline.runs := threadline.known_run(p_client_id);
      thread threadline.threads;
      parent uuid;
      standing bigint;
    begin
      if run.run_id is not null then
        if run.answers_again or run.input <> p_content then
          raise exception 'The client id was used for something else' using errcode = 'TL005';
        end if;
        return threadline.accepted_before(run);
      end if;

      if p_new_thread then
        insert into threadline.threads (thread_id, user_id) values (p_thread_id, owner_id) returning * into thread;
      else
        thread := threadline.lock_thread(p_thread_id);
      end if;
      parent := thread.head_message_id;
      if p_edit_of is not null then
        select m.parent_id into parent from threadline.messages m
          where m.thread_id = p_thread_id and m.user_id = owner_id and m.message_id = p_edit_of and m.role = 'user';
        if not found then
          raise exception 'There is no such message' using errcode = 'TL006';
        end if;
      end if;
      standing := threadline.admit_run(p_thread_id, p_strategy, p_max_waiting);

      insert into threadline.runs
        (run_id, thread_id, user_id, message_id, request_id, connection_id, client_id, agent, input, context, traceparent)
        values (p_run_id, p_thread_id, owner_id, p_message_id, p_request_id, p_connection_id, p_client_id, p_agent, p_content,
          p_context, p_traceparent)
        returning * into run;
      insert into threadline.messages (thread_id, message_id, user_id, run_id, turn, role, content, metadata, parent_id)
        values (p_thread_id, p_message_id, owner_id, p_run_id, run.ordinal, 'user', p_content, p_metadata, parent);
      update threadline.threads t set head_message_id = p_message_id, updated_at = now(), archived_at = null
        where t.thread_id = p_thread_id and t.user_id = owner_id returning * into thread;
      return threadline.acceptance_of(run, thread, false, standing);
    end $$`.execute(db)
}

// The message itself, or the one that it answers; of the head of the visible branch when none is named.
async function createMessageToAnswer (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.message_to_answer(thread threadline.threads, p_message_id uuid) returns threadline.messages
    language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      message threadline.messages;
    begin
      select * into message from threadline.messages m
        where m.thread_id = thread.thread_id and m.user_id = owner_id
          and m.message_id = coalesce(p_message_id, thread.head_message_id);
      if message.role = 'assistant' then
        select * into message from threadline.messages m
          where m.thread_id = thread.thread_id and m.user_id = owner_id and m.message_id = message.parent_id;
      end if;
      if message.role is distinct from 'user' then
        raise exception 'There is no such message' using errcode = 'TL006';
      end if;
      return message;
    end $$`.execute(db)
}

async function createRegenerateMessage (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.regenerate_message(
      p_run_id text, p_thread_id uuid, p_message_id uuid, p_client_id text, p_agent text, p_default_agent text, p_context json,
      p_strategy text, p_traceparent text, p_max_waiting integer, p_request_id uuid, p_connection_id text
    ) returns threadline.acceptance language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      run threadline.runs := threadline.known_run(p_client_id);
      thread threadline.threads;
      message threadline.messages;
      first_agent text;
      standing bigint;
    begin
      if run.run_id is not null and not (run.answers_again and run.thread_id = p_thread_id) then
        raise exception 'The client id was used for something else' using errcode = 'TL005';
      elsif run.run_id is not null and coalesce(p_message_id, run.message_id) = run.message_id then
        return threadline.accepted_before(run);
      end if;

      thread := threadline.lock_thread(p_thread_id);
      message := threadline.message_to_answer(thread, p_message_id);
      if run.message_id = message.message_id then
        return threadline.accepted_before(run);
      elsif run.run_id is not null then
        raise exception 'The client id was used for another message' using errcode = 'TL005';
      end if;
      standing := threadline.admit_run(p_thread_id, p_strategy, p_max_waiting);

      select r.agent into first_agent from threadline.runs r where r.run_id = message.run_id and r.user_id = owner_id;
      insert into threadline.runs (run_id, thread_id, user_id, message_id, request_id, connection_id, client_id, answers_again, agent,
          input, context, traceparent)
        values (p_run_id, p_thread_id, owner_id, message.message_id, p_request_id, p_connection_id, p_client_id, true,
          coalesce(p_agent, first_agent, p_default_agent), message.content, p_context, p_traceparent)
        returning * into run;
      update threadline.threads t set head_message_id = message.message_id, updated_at = now(), archived_at = null
        where t.thread_id = p_thread_id and t.user_id = owner_id returning * into thread;
      return threadline.acceptance_of(run, thread, false, standing);
    end $$`.execute(db)
}
