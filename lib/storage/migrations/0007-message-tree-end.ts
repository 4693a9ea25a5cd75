import { sql, type Kysely } from 'kysely'

/**
 * The append of 0004, with an end of a run that knows the tree. Its text becomes a message that follows the one which the run answers, and
 * what the user wrote meanwhile follows it. A run that is rolled back takes its message with it instead.
 *
 * `new_event` has what an `agent_completed` leaves beside its place in the log.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`drop function threadline.append_events(jsonb)`.execute(db)
  await sql`drop function threadline.end_run(threadline.new_event)`.execute(db)
  await sql`drop type threadline.new_event`.execute(db)
  await sql`
    create type threadline.new_event as (
      item integer, user_id text, thread_id uuid, run_id text, event_id uuid, type text, attempt integer, body text,
      outcome text, error text, rolled_back boolean, message_id uuid, content text,
      model text, input_tokens bigint, output_tokens bigint
    )`.execute(db)
  // A run's first event is its start, or its end when it never started.
  await sql`
    create index run_events_of_run on threadline.run_events (run_id, sequence) where type in ('agent_started', 'agent_completed')
  `.execute(db)
  await createRollBackMessage(db)
  await createFollowAnswer(db)
  await createEndRun(db)
  await createAppendEvents(db)
  await sql`
    revoke all on function threadline.append_events, threadline.end_run, threadline.follow_answer, threadline.roll_back_message
      from public`.execute(db)
  await sql`
    grant execute on function threadline.append_events, threadline.end_run, threadline.follow_answer, threadline.roll_back_message
      to threadline_app`.execute(db)
}

// A message stays while another run answers it, or has: its first one, or one that was asked to answer it again.
async function createRollBackMessage (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.roll_back_message(ended threadline.runs) returns void language plpgsql as $$
    declare
      message threadline.messages;
    begin
      select * into message from threadline.messages m
        where m.thread_id = ended.thread_id and m.user_id = ended.user_id and m.message_id = ended.message_id;
      perform 1 from threadline.runs r
        where r.run_id = message.run_id and r.user_id = ended.user_id and r.error = 'rolled_back';
      if not found then
        return;
      end if;
      perform 1 from threadline.runs r
        where r.thread_id = ended.thread_id and r.user_id = ended.user_id and r.message_id = ended.message_id
          and r.answers_again and r.error is distinct from 'rolled_back';
      if found then
        return;
      end if;

      update threadline.messages m set parent_id = message.parent_id
        where m.thread_id = ended.thread_id and m.user_id = ended.user_id and m.parent_id = message.message_id;
      delete from threadline.messages m
        where m.thread_id = ended.thread_id and m.user_id = ended.user_id and m.message_id = message.message_id;
      update threadline.threads t set head_message_id = threadline.newest_leaf(ended.thread_id, message.parent_id)
        where t.thread_id = ended.thread_id and t.user_id = ended.user_id and t.head_message_id = message.message_id;
    end $$`.execute(db)
}

// A message may be answered by several runs. What the user wrote after one of them was accepted and before the next was, waited for that
// one. A run that leaves no answer leaves the branch as it was before: what waited follows the answer that there is.
async function createFollowAnswer (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.follow_answer(ended threadline.runs, answer uuid) returns void language plpgsql as $$
    declare
      waits_before boolean;
      next_ordinal bigint;
      followed uuid := answer;
    begin
      select coalesce(bool_or(r.ordinal < ended.ordinal), false), min(r.ordinal) filter (where r.ordinal > ended.ordinal)
        into waits_before, next_ordinal from threadline.runs r
        where r.thread_id = ended.thread_id and r.user_id = ended.user_id and r.status in ('queued', 'running')
          and r.message_id = ended.message_id;
      if followed is null then
        if waits_before then
          return;
        end if;
        select m.message_id into followed from threadline.messages m
          where m.thread_id = ended.thread_id and m.user_id = ended.user_id and m.parent_id = ended.message_id
            and m.role = 'assistant'
          order by m.ordinal desc limit 1;
      end if;

      if followed is not null then
        update threadline.messages m set parent_id = followed
          where m.thread_id = ended.thread_id and m.user_id = ended.user_id and m.parent_id = ended.message_id
            and m.role = 'user' and m.turn > ended.ordinal and (next_ordinal is null or m.turn < next_ordinal);
      end if;
      if next_ordinal is null then
        update threadline.threads t
          set head_message_id = coalesce(answer, threadline.newest_leaf(ended.thread_id, ended.message_id))
          where t.thread_id = ended.thread_id and t.user_id = ended.user_id and t.head_message_id = ended.message_id;
      end if;
    end $$`.execute(db)
}

async function createEndRun (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.end_run(event threadline.new_event) returns threadline.runs language plpgsql as $$
    declare
      ended threadline.runs;
      answer uuid;
    begin
      update threadline.runs r set status = event.outcome, finished_at = now(), error = event.error
        where r.run_id = event.run_id and r.user_id = event.user_id returning r.* into ended;
      if event.model is not null then
        insert into threadline.usage (run_id, step, thread_id, user_id, model, input_tokens, output_tokens)
          values (ended.run_id, 0, ended.thread_id, ended.user_id, event.model, event.input_tokens, event.output_tokens)
          on conflict (run_id, step) do nothing;
      end if;
      if event.rolled_back then
        perform threadline.roll_back_message(ended);
      elsif event.message_id is not null and event.content is not null then
        insert into threadline.messages (thread_id, message_id, user_id, run_id, turn, role, content, parent_id)
          values (ended.thread_id, event.message_id, ended.user_id, ended.run_id, ended.ordinal, 'assistant', event.content,
            ended.message_id)
          on conflict (thread_id, message_id) do nothing returning message_id into answer;
        update threadline.threads t set updated_at = now()
          where t.thread_id = ended.thread_id and t.user_id = ended.user_id;
      end if;
      perform threadline.follow_answer(ended, answer);
      return ended;
    end $$`.execute(db)
}

/**
 * The batch is taken thread by thread, in the order of their ids so that two batches never wait for each other in a circle, and each thread
 * in the name of the user that its events name: row-level security decides whether that user has such a thread.
 *
 * Within a thread: room for all its events is taken from the thread's counter, which locks its row; then each event is
 * judged in order, the accepted ones are stored by one insert, and what was not needed is given back to the counter.
 */
async function createAppendEvents (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.append_events(batch jsonb)
    returns table (item integer, sequence bigint, refused text) language plpgsql as $$
    #variable_conflict use_column
    declare
      part record;
      event threadline.new_event;
      known jsonb;
      run threadline.runs;
      last bigint;
      accepted threadline.new_event[];
    begin
      for part in
        select e.user_id, e.thread_id, array_agg(e order by e.item) as events, array_agg(e.event_id) as event_ids,
          count(*) as size
        from jsonb_populate_recordset(null::threadline.new_event, batch) e
        group by e.user_id, e.thread_id order by e.thread_id, e.user_id
      loop
        perform set_config('threadline.user_id', part.user_id, true);

        update threadline.threads t set last_sequence = t.last_sequence + part.size
          where t.thread_id = part.thread_id and t.user_id = part.user_id and t.deleted_at is null
          returning t.last_sequence - part.size into last;
        if not found then
          return query select e.item, null::bigint, 'thread-not-found' from unnest(part.events) e;
          continue;
        end if;

        select jsonb_object_agg(e.event_id, e.sequence) filter (where e.thread_id = part.thread_id) into known
          from threadline.run_events e
          where e.event_id = any (part.event_ids) and e.user_id = part.user_id;
        accepted := '{}';
        run := null;

        foreach event in array part.events loop
          item := event.item;
          sequence := (known ->> event.event_id::text)::bigint;
          refused := null;
          if sequence is null then
            if run.run_id is distinct from event.run_id then
              select * into run from threadline.runs r where r.run_id = event.run_id and r.user_id = part.user_id;
            end if;
            if run.thread_id = part.thread_id
              and (run.status = 'queued' or run.status = 'running' and run.attempt = event.attempt) then
              accepted := array_append(accepted, event);
              sequence := last + cardinality(accepted);
              if event.type = 'agent_completed' then
                run := threadline.end_run(event);
              end if;
            else
              refused := 'run-not-active';
            end if;
          end if;
          return next;
        end loop;

        insert into threadline.run_events (thread_id, sequence, event_id, user_id, run_id, type, attempt, body)
          select part.thread_id, last + e.place, e.event_id, part.user_id, e.run_id, e.type, e.attempt, e.body::json
          from unnest(accepted) with ordinality
            as e (item, user_id, thread_id, run_id, event_id, type, attempt, body, outcome, error, rolled_back, message_id, content,
              model, input_tokens, output_tokens, place);

        if cardinality(accepted) < part.size then
          update threadline.threads t set last_sequence = last + cardinality(accepted)
            where t.thread_id = part.thread_id and t.user_id = part.user_id;
        end if;
      end loop;
    end $$`.execute(db)
}
