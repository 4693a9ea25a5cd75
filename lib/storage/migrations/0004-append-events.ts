import { sql, type Kysely } from 'kysely'

/**
 * Appends a batch of events of many users and threads in one call. The batch is taken thread by thread, in the order of
 * their ids so that two batches never wait for each other in a circle, and each thread in the name of the user that its
 * events name: row-level security decides whether that user has such a thread.
 *
 * Within a thread: room for all its events is taken from the thread's counter, which locks its row; then each event is
 * judged in order, the accepted ones are stored by one insert, and what was not needed is given back to the counter.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    create type threadline.new_event as (
      item integer, user_id text, thread_id uuid, run_id text, event_id uuid, type text, attempt integer, body text,
      outcome text, error text, message_id uuid, content text
    )`.execute(db)
  await sql`
    create function threadline.end_run(event threadline.new_event) returns threadline.runs language plpgsql as $$
    declare
      ended threadline.runs;
    begin
      update threadline.runs r set status = event.outcome, finished_at = now(), error = event.error
        where r.run_id = event.run_id and r.user_id = event.user_id returning r.* into ended;
      if event.message_id is not null and event.content is not null then
        insert into threadline.messages (thread_id, message_id, user_id, run_id, turn, role, content)
          values (ended.thread_id, event.message_id, ended.user_id, ended.run_id, ended.ordinal, 'assistant', event.content)
          on conflict (thread_id, message_id) do nothing;
        update threadline.threads t set updated_at = now()
          where t.thread_id = ended.thread_id and t.user_id = ended.user_id;
      end if;
      return ended;
    end $$`.execute(db)
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
            as e (item, user_id, thread_id, run_id, event_id, type, attempt, body, outcome, error, message_id, content, place);

        if cardinality(accepted) < part.size then
          update threadline.threads t set last_sequence = last + cardinality(accepted)
            where t.thread_id = part.thread_id and t.user_id = part.user_id;
        end if;
      end loop;
    end $$`.execute(db)
  await sql`revoke all on function threadline.append_events, threadline.end_run from public`.execute(db)
  await sql`grant execute on function threadline.append_events, threadline.end_run to threadline_app`.execute(db)
}
