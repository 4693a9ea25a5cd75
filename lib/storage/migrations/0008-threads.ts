import { sql, type Kysely } from 'kysely'

/**
 * What is asked of threads: the list of each state, search, and a fork.
 *
 * `listed`, `archived` and `deleted` stand in the indexes for the same reason as before: no question for a single thread names them.
 * The index on listed threads serves the active and the archived ones, search, and the counts of a user.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await createSearchWords(db)
  await createSearchQuery(db)
  await createNewMessageId(db)
  await sql`
    alter table threadline.threads
      add column archived boolean generated always as (archived_at is not null) stored,
      add column deleted boolean generated always as (deleted_at is not null) stored,
      add column search tsvector generated always as (setweight(threadline.search_words(title), 'A')) stored`.execute(db)
  await sql`
    alter table threadline.messages
      add column search tsvector not null generated always as (threadline.search_words(content)) stored`.execute(db)

  await sql`drop index threadline.threads_of_user`.execute(db)
  await sql`
    create index threads_of_user on threadline.threads (user_id, archived, updated_at desc, thread_id desc) where listed
  `.execute(db)
  await sql`
    create index threads_deleted on threadline.threads (user_id, updated_at desc, thread_id desc) where deleted
  `.execute(db)
  await createForkThread(db)

  await sql`
    revoke all on function threadline.search_words, threadline.search_query, threadline.apart, threadline.new_message_id,
      threadline.fork_thread from public
  `.execute(db)
  await sql`
    grant execute on function threadline.search_words, threadline.search_query, threadline.apart, threadline.new_message_id,
      threadline.fork_thread to threadline_app`.execute(db)
}

// The parser would take addresses and paths as one word, leave tags out, and look for the end of each comment from its beginning on.
const between = String.raw`[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7` +
  String.raw`\u2010-\u206f\u3000-\u3004\u3008-\u3020\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]`

/** Thai to Burmese, Khmer, kana, Han. */
const unspaced = String.raw`([\u0e00-\u109f\u1780-\u17ff\u3041-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])`

/**
 * The words of a text, for every language: none is stemmed, none is too common to be found, and where a script is written without blanks
 * each character is a word. Of a long text the beginning, as much as a user may write at once: its words always fit into a `tsvector`,
 * so that no text is too large to be stored. Upper and lower case are those of the database's `lc_ctype`.
 *
 * There is no index on the words. Below row-level security Postgres uses an index with leakproof operators only, and `@@` is none; so a
 * search reads the words of the user's own threads, which are found by theirs, and never those of everybody.
 */
async function createSearchWords (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.apart(p_text text) returns text language sql immutable strict parallel safe as $$
      select regexp_replace(p_text, ${sql.lit(unspaced)}, ' \\1 ', 'g')
    $$`.execute(db)
  await sql`
    create function threadline.search_words(p_text text) returns tsvector language sql immutable parallel safe as $$
      select to_tsvector('simple'::regconfig,
        threadline.apart(regexp_replace(left(coalesce(p_text, ''), 32000), ${sql.lit(between)}, ' ', 'g')))
    $$`.execute(db)
}

/** A query for `websearch_to_tsquery`; with `p_prefix` its last word may go on, so that one can search while typing. */
async function createSearchQuery (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.search_query(p_query text, p_prefix boolean) returns tsquery
    language sql immutable strict parallel safe as $$
      select case when p_prefix and numnode(q) > 0 then (q::text || ':*')::tsquery else q end
        from websearch_to_tsquery('simple'::regconfig, threadline.apart(p_query)) q
    $$`.execute(db)
}

/** A UUIDv7 (RFC 9562, section 5.7), as `newMessageId` makes them, for messages that come to be in the database. */
async function createNewMessageId (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.new_message_id() returns uuid language sql volatile as $$
      select encode(set_byte(
        overlay(uuid_send(gen_random_uuid())
          placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
        6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112), 'hex')::uuid
    $$`.execute(db)
}

// The lock keeps the branch as it is while it is copied. A copy has no run, and stands in the turn of its original, so before every later one.
async function createForkThread (db: Kysely<unknown>): Promise<void> {
  await sql`
    create function threadline.fork_thread(p_source uuid, p_target uuid, p_message_id uuid, p_title text)
    returns threadline.threads language plpgsql as $$
    declare
      owner_id text := threadline.current_user_id();
      source threadline.threads := threadline.lock_thread(p_source);
      target threadline.threads;
      last_id uuid := coalesce(p_message_id, source.head_message_id);
    begin
      insert into threadline.threads (thread_id, user_id, title) values (p_target, owner_id, coalesce(p_title, source.title));

      with recursive way as (
        select m.*, 1 as distance from threadline.messages m
          where m.thread_id = p_source and m.user_id = owner_id and m.message_id = last_id
        union all
        select m.*, way.distance + 1 from way
          join threadline.messages m on m.thread_id = p_source and m.user_id = owner_id and m.message_id = way.parent_id
      ), copies as materialized (
        select way.*, threadline.new_message_id() as copy_id from way
      )
      insert into threadline.messages (thread_id, message_id, user_id, parent_id, turn, role, content, metadata, created_at)
        select p_target, c.copy_id, owner_id, before.copy_id, c.turn, c.role, c.content, c.metadata, c.created_at
          from copies c left join copies before on before.message_id = c.parent_id
          order by c.distance desc;
      if not found and p_message_id is not null then
        raise exception 'There is no such message' using errcode = 'TL006';
      end if;

      update threadline.threads t
        set head_message_id = (
          select m.message_id from threadline.messages m
            where m.thread_id = p_target and m.user_id = owner_id order by m.ordinal desc limit 1
        )
        where t.thread_id = p_target and t.user_id = owner_id returning * into target;
      return target;
    end $$`.execute(db)
}
