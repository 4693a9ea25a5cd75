import { sql, type Kysely } from 'kysely'

/**
 * What a run has done and need not do again, kept until it ends. A step is stored by the append of the event that it belongs to, under the
 * same lock and for the same attempt. Its body is `json`, as the bodies of events are.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await createRunSteps(db)
  await createAppendEvents(db)
  await forgetStepsWithRun(db)
  await forgetStepsWithThread(db)
}

async function createRunSteps (db: Kysely<unknown>): Promise<void> {
  await sql`
    create table threadline.run_steps (
      run_id text not null,
      key text not null,
      position bigint generated always as identity,
      thread_id uuid not null,
      user_id text not null,
      body json not null,
      created_at timestamptz not null default now(),
      primary key (run_id, key),
      foreign key (thread_id, user_id) references threadline.threads (thread_id, user_id)
    )`.execute(db)
  await sql`create index run_steps_of_thread on threadline.run_steps (thread_id)`.execute(db)
  await sql`alter table threadline.run_steps enable row level security`.execute(db)
  await sql`alter table threadline.run_steps force row level security`.execute(db)
  await sql`
    create policy own_rows on threadline.run_steps to threadline_app, current_user
      using (user_id = threadline.current_user_id()) with check (user_id = threadline.current_user_id())`.execute(db)
  await sql`grant select, insert, delete on threadline.run_steps to threadline_app`.execute(db)
}

/**
 * Appends a batch, and the steps that some of its events bring with them: `item` names the event. The append has locked the rows of the threads, so
 * what is stored is what the append itself goes by: a step of a run that is running, in the attempt that it is in, when the whole batch is stored.
 * Of a step that is stored already the first stays.
 */
async function createAppendEvents (db: Kysely<unknown>): Promise<void> {
  await sql`create type threadline.new_step as (item integer, key text, body text)`.execute(db)
  await sql`
    create function threadline.append_events(batch jsonb, steps jsonb)
    returns table (item integer, sequence bigint, refused text) language plpgsql as $$
    #variable_conflict use_column
    declare
      step record;
    begin
      return query select a.item, a.sequence, a.refused from threadline.append_events(batch) a;
      for step in
        select e.user_id, e.thread_id, e.run_id, e.attempt, s.key, s.body
        from jsonb_populate_recordset(null::threadline.new_step, steps) s
        join jsonb_populate_recordset(null::threadline.new_event, batch) e on e.item = s.item
        order by s.item
      loop
        perform set_config('threadline.user_id', step.user_id, true);
        insert into threadline.run_steps (run_id, key, thread_id, user_id, body)
          select r.run_id, step.key, r.thread_id, r.user_id, step.body::json from threadline.runs r
            where r.run_id = step.run_id and r.user_id = step.user_id and r.thread_id = step.thread_id
              and r.status = 'running' and r.attempt = step.attempt
          on conflict (run_id, key) do nothing;
      end loop;
    end $$`.execute(db)
  await sql`revoke all on function threadline.append_events(jsonb, jsonb) from public`.execute(db)
  await sql`grant execute on function threadline.append_events(jsonb, jsonb) to threadline_app`.execute(db)
}

async function forgetStepsWithRun (db: Kysely<unknown>): Promise<void> {
  await sql`
    create or replace function threadline.end_run(event threadline.new_event) returns threadline.runs language plpgsql as $$
    declare
      ended threadline.runs;
      answer uuid;
    begin
      update threadline.runs r set status = event.outcome, finished_at = now(), error = event.error
        where r.run_id = event.run_id and r.user_id = event.user_id returning r.* into ended;
      delete from threadline.run_steps s where s.run_id = ended.run_id and s.user_id = ended.user_id;
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

async function forgetStepsWithThread (db: Kysely<unknown>): Promise<void> {
  await sql`
    create or replace function threadline.delete_threads(p_thread_ids uuid[]) returns threadline.deleted_rows language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      deleted threadline.deleted_rows;
    begin
      delete from threadline.run_steps s where s.user_id = owner_id and s.thread_id = any (p_thread_ids);
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
