import { sql, type Kysely } from 'kysely'

/**
 * A run that takes the place of those before it asks for their end in the transaction that stores it. Until now the node that had accepted it asked
 * afterwards: when it died in between, or the database was away for a moment, what was to be interrupted or rolled back went on to its end, and
 * a message that came again was known and asked for nothing more.
 *
 * Each run hears of it from its lease, or when it is taken from the queue; whoever accepts still tells its worker at once. Of an earlier version the
 * worker is not told at once when it is another node, and hears of it by its next heartbeat.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    create or replace function threadline.admit_run(p_thread_id uuid, p_strategy text, p_max_waiting integer) returns bigint
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
      elsif p_strategy in ('interrupt', 'rollback') and standing > 0 then
        update threadline.runs r set stop_reason = case p_strategy when 'interrupt' then 'interrupted' else 'rolled_back' end
          where r.thread_id = p_thread_id and r.user_id = owner_id and r.status in ('queued', 'running') and r.stop_reason is null;
      end if;
      return standing;
    end $$`.execute(db)
}
