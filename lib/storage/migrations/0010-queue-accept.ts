import { sql, type Kysely } from 'kysely'

/**
 * Runs are stored with a signature, which only the insert can set. The functions without one stay for versions that know none; what they store
 * is not signed.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await createAcceptMessage(db)
  await createRegenerateMessage(db)
  await keepEarlierOnes(db)
  for (const name of [signedAccept, signedRegenerate]) {
    await sql`revoke all on function ${sql.raw(name)} from public`.execute(db)
    await sql`grant execute on function ${sql.raw(name)} to threadline_app`.execute(db)
  }
}

const signedAccept = `threadline.accept_message(
  uuid, text, uuid, boolean, uuid, text, json, text, text, json, text, text, integer, uuid, text, text)`
const signedRegenerate = `threadline.regenerate_message(
  text, uuid, uuid, text, text, text, json, text, text, integer, uuid, text, text)`

async function createAcceptMessage (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.accept_message(
      p_message_id uuid, p_run_id text, p_thread_id uuid, p_new_thread boolean, p_edit_of uuid, p_content text, p_metadata json,
      p_client_id text, p_agent text, p_context json, p_strategy text, p_traceparent text, p_max_waiting integer,
      p_request_id uuid, p_connection_id text, p_signature text
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
        (run_id, thread_id, user_id, message_id, request_id, connection_id, client_id, agent, input, context, traceparent, signature)
        values (p_run_id, p_thread_id, owner_id, p_message_id, p_request_id, p_connection_id, p_client_id, p_agent, p_content,
          p_context, p_traceparent, p_signature)
        returning * into run;
      insert into threadline.messages (thread_id, message_id, user_id, run_id, turn, role, content, metadata, parent_id)
        values (p_thread_id, p_message_id, owner_id, p_run_id, run.ordinal, 'user', p_content, p_metadata, parent);
      update threadline.threads t set head_message_id = p_message_id, updated_at = now(), archived_at = null
        where t.thread_id = p_thread_id and t.user_id = owner_id returning * into thread;
      return threadline.acceptance_of(run, thread, false, standing);
    end $$`.execute(db)
}

async function createRegenerateMessage (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.regenerate_message(
      p_run_id text, p_thread_id uuid, p_message_id uuid, p_client_id text, p_agent text, p_default_agent text, p_context json,
      p_strategy text, p_traceparent text, p_max_waiting integer, p_request_id uuid, p_connection_id text, p_signature text
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
          input, context, traceparent, signature)
        values (p_run_id, p_thread_id, owner_id, message.message_id, p_request_id, p_connection_id, p_client_id, true,
          coalesce(p_agent, first_agent, p_default_agent), message.content, p_context, p_traceparent, p_signature)
        returning * into run;
      update threadline.threads t set head_message_id = message.message_id, updated_at = now(), archived_at = null
        where t.thread_id = p_thread_id and t.user_id = owner_id returning * into thread;
      return threadline.acceptance_of(run, thread, false, standing);
    end $$`.execute(db)
}

async function keepEarlierOnes (db: Kysely<unknown>): Promise<void> {
  await sql`
    create or replace function threadline.accept_message(
      p_message_id uuid, p_run_id text, p_thread_id uuid, p_new_thread boolean, p_edit_of uuid, p_content text, p_metadata json,
      p_client_id text, p_agent text, p_context json, p_strategy text, p_traceparent text, p_max_waiting integer,
      p_request_id uuid, p_connection_id text
    ) returns threadline.acceptance language plpgsql as $$
    begin
      return threadline.accept_message(p_message_id, p_run_id, p_thread_id, p_new_thread, p_edit_of, p_content, p_metadata, p_client_id,
        p_agent, p_context, p_strategy, p_traceparent, p_max_waiting, p_request_id, p_connection_id, null::text);
    end $$`.execute(db)
  await sql`
    create or replace function threadline.regenerate_message(
      p_run_id text, p_thread_id uuid, p_message_id uuid, p_client_id text, p_agent text, p_default_agent text, p_context json,
      p_strategy text, p_traceparent text, p_max_waiting integer, p_request_id uuid, p_connection_id text
    ) returns threadline.acceptance language plpgsql as $$
    begin
      return threadline.regenerate_message(p_run_id, p_thread_id, p_message_id, p_client_id, p_agent, p_default_agent, p_context,
        p_strategy, p_traceparent, p_max_waiting, p_request_id, p_connection_id, null::text);
    end $$`.execute(db)
}
