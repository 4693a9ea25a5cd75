import { sql, type Kysely } from 'kysely'

/**
 * The visible branch leads to an end, or to a message that is being answered. It did not where the end of a run let what waited follow an answer
 * at which the head was, or came to be: as when another answer was asked for behind a message that waited, and not wanted any more. What
 * followed was hidden until somebody chose its branch.
 *
 * Only the head's new place differs from 0007. Earlier versions call the same function.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    create or replace function threadline.follow_answer(ended threadline.runs, answer uuid) returns void language plpgsql as $$
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
      update threadline.threads t set head_message_id = threadline.newest_leaf(ended.thread_id, t.head_message_id)
        where t.thread_id = ended.thread_id and t.user_id = ended.user_id
          and (t.head_message_id = ended.message_id and next_ordinal is null or t.head_message_id = followed);
    end $$`.execute(db)
}
