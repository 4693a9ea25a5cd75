import { sql, type Kysely } from 'kysely'

/**
 * The tables. Every row names its owner, and a row of a thread cannot have another owner than its thread: the foreign keys
 * are over both. Ids that a caller chooses are unique within a thread or a user only, so that one user cannot find out
 * by a conflict what another has. Text from outside that is JSON is kept as `json`, which keeps what `jsonb` refuses (`\u0000`).
 *
 * The plans of our functions are made while the tables are nearly empty, and the embedded database never gathers statistics.
 * So each index is such that it is the only one, or for certain the cheapest, for the questions that are asked of it:
 * `threads_of_user` needs `listed`, which no question for a single thread names, and an event is looked for by its own id.
 */
export async function up (db: Kysely<unknown>): Promise<void> {
  await sql`
    create table threadline.threads (
      thread_id uuid primary key,
      user_id text not null,
      title text,
      last_sequence bigint not null default 0,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      deleted_at timestamptz,
      listed boolean generated always as (deleted_at is null) stored,
      unique (thread_id, user_id)
    ) with (fillfactor = 80)`.execute(db)
  await sql`create index threads_of_user on threadline.threads (user_id, updated_at desc) where listed`.execute(db)

  // `ordinal` counts in the order of acceptance, which happens under the lock of the thread's row.
  await sql`
    create table threadline.runs (
      run_id text primary key,
      ordinal bigint generated always as identity,
      thread_id uuid not null,
      user_id text not null,
      message_id uuid not null,
      request_id uuid not null,
      connection_id text,
      agent text not null,
      input text not null,
      context json not null,
      status text not null default 'queued'
        check (status in ('queued', 'running', 'completed', 'failed', 'cancelled', 'timed_out')),
      attempt integer not null default 0,
      traceparent text,
      created_at timestamptz not null default now(),
      started_at timestamptz,
      finished_at timestamptz,
      error text,
      foreign key (thread_id, user_id) references threadline.threads (thread_id, user_id)
    )`.execute(db)
  await sql`create unique index runs_one_running on threadline.runs (thread_id) where status = 'running'`.execute(db)
  await sql`
    create index runs_unfinished on threadline.runs (thread_id, ordinal) where status in ('queued', 'running')
  `.execute(db)
  await sql`create index runs_of_thread on threadline.runs (thread_id, ordinal)`.execute(db)

  // `turn` is the ordinal of the run: a message that waited in the queue stands after the answer that it waited for.
  await sql`
    create table threadline.messages (
      thread_id uuid not null,
      message_id uuid not null,
      user_id text not null,
      run_id text not null,
      turn bigint not null,
      ordinal bigint generated always as identity,
      role text not null check (role in ('user', 'assistant')),
      content text not null,
      metadata json not null default '{}',
      client_id text,
      created_at timestamptz not null default now(),
      primary key (thread_id, message_id),
      foreign key (thread_id, user_id) references threadline.threads (thread_id, user_id)
    )`.execute(db)
  await sql`create index messages_in_order on threadline.messages (thread_id, turn, ordinal)`.execute(db)
  await sql`
    create unique index messages_client_id on threadline.messages (user_id, client_id) where client_id is not null
  `.execute(db)

  await sql`
    create table threadline.run_events (
      thread_id uuid not null,
      sequence bigint not null,
      event_id uuid not null,
      user_id text not null,
      run_id text not null,
      type text not null,
      attempt integer not null,
      body json not null,
      created_at timestamptz not null default now(),
      primary key (thread_id, sequence),
      unique (event_id, thread_id),
      foreign key (thread_id, user_id) references threadline.threads (thread_id, user_id)
    )`.execute(db)

  await sql`
    create table threadline.approvals (
      run_id text not null,
      approval_id uuid not null,
      thread_id uuid not null,
      user_id text not null,
      tool text not null,
      parameters json not null,
      decision text check (decision in ('approved', 'rejected')),
      note text,
      created_at timestamptz not null default now(),
      decided_at timestamptz,
      primary key (run_id, approval_id),
      foreign key (thread_id, user_id) references threadline.threads (thread_id, user_id)
    )`.execute(db)

  await sql`
    create table threadline.usage (
      run_id text not null,
      step integer not null,
      thread_id uuid not null,
      user_id text not null,
      model text not null,
      input_tokens bigint not null,
      output_tokens bigint not null,
      created_at timestamptz not null default now(),
      primary key (run_id, step),
      foreign key (thread_id, user_id) references threadline.threads (thread_id, user_id)
    )`.execute(db)

  await sql`
    create table threadline.tickets (
      secret_hash text primary key,
      user_id text not null,
      token_expires_at timestamptz,
      expires_at timestamptz not null
    )`.execute(db)
  await sql`create index tickets_by_expiry on threadline.tickets (expires_at)`.execute(db)
}
