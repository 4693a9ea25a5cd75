import type pg from 'pg'
import type { Test } from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity, type Identity } from '../../lib/context/identity.ts'
import type { NewThreadEvent, PayloadOf, RunEventType } from '../../lib/protocol/events.ts'
import {
  newEventId, newMessageId, newRequestId, newRunId, newThreadId, toUserId, type RunId, type ThreadId
} from '../../lib/protocol/ids.ts'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { migrate } from '../../lib/storage/migrate.ts'
import { openStores } from '../../lib/storage/open-storage.ts'
import { PgliteDatabase } from '../../lib/storage/pglite-database.ts'
import { createUnitsOfWork, type UnitsOfWork } from '../../lib/storage/unit-of-work.ts'
import type { AppendedEvent } from '../../lib/stores/event-store.ts'
import type { Lease } from '../../lib/stores/queue-store.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { AcceptedMessage, Regeneration } from '../../lib/stores/run-store.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { createThrowawayDatabase } from './throwaway-database.ts'

type Role = 'threadline_app' | 'threadline_system'

const limits = { statementTimeoutMs: 15_000, lockTimeoutMs: 5_000 }

/** A database of the test's own, with all that the storage consists of, and a way past everything that protects it. */
export interface TestDatabase {
  readonly storage: Storage
  readonly units: UnitsOfWork
  /**
   * The storage as another process has it, on connections of its own, which are closed with the test. The embedded database has one session, which
   * everybody shares.
   */
  readonly another: (t: Test) => Promise<Storage>
  /** Asks the database itself, as the login. */
  readonly ask: <Row extends pg.QueryResultRow = pg.QueryResultRow>(text: string) => Promise<Row[]>
  /**
   * Asks it in one of our roles, for a user where one is named, after something that the login does before. It all happens in
   * one transaction, which is rolled back.
   */
  readonly askAs: <Row extends pg.QueryResultRow = pg.QueryResultRow>(
    role: Role, user: string | undefined, text: string, before?: string
  ) => Promise<Row[]>
}

/**
 * Runs the suite on the embedded database, and again on the server of `TEST_DATABASE_URL` where there is one; with `TEST_DATABASES=server` on that
 * alone. Whatever is opened is closed with the test.
 */
export function onEachDatabase (t: Test, suite: (t: Test, database: TestDatabase) => Promise<void>): void {
  const hasServer = process.env['TEST_DATABASE_URL'] !== undefined
  const isEnough = hasServer && process.env['TEST_DATABASES'] === 'server'
  const databases = { ...(isEnough ? {} : { embedded: openEmbedded }), ...(hasServer ? { server: openServer } : {}) }
  for (const [name, open] of Object.entries(databases)) {
    t.test(`on the ${name} database`, async (t) => { await suite(t, await open(t)) })
  }
}

async function openEmbedded (t: Test): Promise<TestDatabase> {
  return await onEmbedded(t, new PgliteDatabase(undefined, undefined))
}

/** The same on an embedded database of the caller's, which is closed with the test. */
export async function onEmbedded (t: Test, embedded: PgliteDatabase): Promise<TestDatabase> {
  t.teardown(async () => { await embedded.close() })
  await embedded.start()
  return await prepare(t, () => openPool({ embedded }, undefined), { shared: true })
}

async function openServer (t: Test): Promise<TestDatabase> {
  const throwaway = await createThrowawayDatabase({ migrated: true })
  if (throwaway === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await throwaway.drop() })
  return await prepare(t, () => openPool({ url: throwaway.url, size: 8 }, undefined), { shared: false })
}

async function prepare (t: Test, open: () => pg.Pool, { shared }: { readonly shared: boolean }): Promise<TestDatabase> {
  const pool = open()
  t.teardown(async () => { await pool.end() })
  await migrate(pool)
  const units = createUnitsOfWork(pool, limits)
  const storage = await openStores(units, async () => undefined)
  const ask = async <Row extends pg.QueryResultRow>(text: string): Promise<Row[]> => (await pool.query<Row>(text)).rows
  return {
    storage,
    units,
    async another (t) {
      if (shared) return storage
      const own = open()
      t.teardown(async () => { await own.end() })
      return await openStores(createUnitsOfWork(own, limits), async () => undefined)
    },
    ask,
    async askAs (role, user, text, before = 'select 1') {
      const client = await pool.connect()
      try {
        await client.query(`begin; ${before}; set local role ${role}`)
        if (user !== undefined) await client.query("select set_config('threadline.user_id', $1, true)", [user])
        return (await client.query(text)).rows
      } finally {
        await client.query('rollback')
        client.release()
      }
    }
  }
}

/** Of a worker that the test does not name. */
export const lease: Lease = { worker: 'a worker', leaseMs: 60_000 }

/** Somebody who has stored nothing yet. */
export function newcomer (name = 'somebody'): Identity {
  return createIdentity({ userId: toUserId(`${name} ${newRequestId()}`) })
}

export function as<T> (identity: Identity, fn: () => T): T {
  return enterThread(identity, fn)
}

export function messageOf (changes: Partial<AcceptedMessage> = {}): AcceptedMessage {
  const threadId = changes.threadId ?? newThreadId()
  return {
    messageId: newMessageId(),
    runId: newRunId(threadId),
    threadId,
    newThread: changes.threadId === undefined,
    content: 'Hello',
    metadata: {},
    clientId: undefined,
    agent: 'assistant',
    context: {},
    strategy: 'enqueue',
    traceparent: undefined,
    signature: 'signed',
    maxWaiting: 16,
    ...changes
  }
}

/** One more run for the newest message of a thread. */
export function regenerationOf (changes: Partial<Regeneration> & Pick<Regeneration, 'threadId'>): Regeneration {
  return {
    runId: newRunId(changes.threadId),
    messageId: undefined,
    clientId: undefined,
    agent: undefined,
    defaultAgent: 'assistant',
    context: {},
    strategy: 'enqueue',
    traceparent: undefined,
    signature: 'signed',
    maxWaiting: 16,
    ...changes
  }
}

/** A run of the user that has been claimed, in a new thread. */
export async function runningRun (storage: Storage, user: Identity): Promise<RunRecord> {
  const message = messageOf()
  await as(user, async () => await storage.runs.accept(message))
  const run = await as(user, async () => await storage.runs.claimNext(message.threadId, lease))
  if (run === undefined) throw new Error('There was nothing to claim')
  return run
}

interface RunOf { readonly userId: string, readonly threadId: ThreadId, readonly runId: RunId, readonly attempt: number }

export function eventOf<Name extends RunEventType> (
  run: RunOf, type: Name, payload: PayloadOf<Name>, changes: Partial<NewThreadEvent> = {}
): AppendedEvent {
  const event = {
    type,
    event_id: newEventId(),
    timestamp: new Date().toISOString(),
    user_id: toUserId(run.userId),
    thread_id: run.threadId,
    run_id: run.runId,
    request_id: newRequestId(),
    payload,
    ...changes
  }
  return { event, attempt: run.attempt }
}

export const deltaOf = (run: RunOf, text = 'word'): AppendedEvent => eventOf(run, 'agent_delta', { text, step: 0 })

export const completionOf = (run: RunOf, changes: Partial<PayloadOf<'agent_completed'>> = {}): AppendedEvent =>
  eventOf(run, 'agent_completed', { status: 'completed', ...changes })
