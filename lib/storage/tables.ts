import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler, type GeneratedAlways, type Generated } from 'kysely'
import type { RunStatus } from '../protocol/events.ts'

/** A point in time: ISO 8601, UTC, in milliseconds; see `row-types.ts`. */
type Timestamp = string
type Json = Readonly<Record<string, unknown>>

export interface ThreadsTable {
  thread_id: string
  user_id: string
  title: string | null
  metadata: Generated<Json>
  last_sequence: Generated<number>
  kept_after: Generated<number>
  head_message_id: string | null
  created_at: Generated<Timestamp>
  updated_at: Generated<Timestamp>
  archived_at: Timestamp | null
  deleted_at: Timestamp | null
  listed: GeneratedAlways<boolean>
  archived: GeneratedAlways<boolean>
  deleted: GeneratedAlways<boolean>
}

export interface RunsTable {
  run_id: string
  ordinal: GeneratedAlways<number>
  thread_id: string
  user_id: string
  message_id: string
  request_id: string
  connection_id: string | null
  client_id: string | null
  answers_again: Generated<boolean>
  agent: string
  input: string
  context: Json
  status: RunStatus
  attempt: number
  traceparent: string | null
  created_at: Generated<Timestamp>
  started_at: Timestamp | null
  finished_at: Timestamp | null
  error: string | null
  signature: string | null
  worker: string | null
  lease_until: Timestamp | null
  given_back: Generated<number>
  stop_reason: string | null
}

export interface RunStepsTable {
  run_id: string
  key: string
  position: GeneratedAlways<number>
  thread_id: string
  user_id: string
  body: unknown
  created_at: Generated<Timestamp>
}

export interface MessagesTable {
  thread_id: string
  message_id: string
  user_id: string
  run_id: string | null
  parent_id: string | null
  turn: number
  ordinal: GeneratedAlways<number>
  role: 'user' | 'assistant'
  content: string
  metadata: Json
  created_at: Generated<Timestamp>
}

export interface RunEventsTable {
  thread_id: string
  sequence: number
  event_id: string
  user_id: string
  run_id: string
  type: string
  attempt: number
  body: Json
  created_at: Generated<Timestamp>
}

export interface UsageTable {
  run_id: string
  step: number
  thread_id: string
  user_id: string
  model: string
  input_tokens: number
  output_tokens: number
  created_at: Generated<Timestamp>
}

export interface TicketsTable {
  secret_hash: string
  user_id: string
  token_expires_at: Timestamp | null
  expires_at: Timestamp
}

export interface Tables {
  threads: ThreadsTable
  runs: RunsTable
  run_steps: RunStepsTable
  messages: MessagesTable
  run_events: RunEventsTable
  usage: UsageTable
  tickets: TicketsTable
}

/**
 * Builds queries and cannot run them: it has no connection. What it builds is given to a unit of work, which is the only way
 * to the database.
 */
export const query = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler()
  }
}).withSchema('threadline')
