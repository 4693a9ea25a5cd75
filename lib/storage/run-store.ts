import { sql, type Selectable } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import { toRunId, toThreadId, type MessageId, type RunId, type ThreadId } from '../protocol/ids.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { Acceptance, AcceptedMessage, Regeneration, RunStore } from '../stores/run-store.ts'
import { requireThread } from './own-thread.ts'
import { firstEventOf, toOpenTools, toolEventsOf } from './run-events.ts'
import { toRunRecord } from './run-record.ts'
import { storableText } from './storable-text.ts'
import { query, type RunsTable } from './tables.ts'
import { toThreadView, type ThreadRow } from './thread-view.ts'
import type { Query, UnitOfWork, UnitsOfWork } from './unit-of-work.ts'
import type { UnreadableRuns } from './unreadable-runs.ts'

type AcceptanceRow = ThreadRow & {
  readonly message_id: string
  readonly run_id: string
  readonly duplicate: boolean
  readonly standing: number
}

/**
 * The runs of the active user. What must happen at once is a function of the database, `threadline.accept_message`,
 * `threadline.regenerate_message` and `threadline.claim_next`: one round trip, and no lock is held while a process thinks.
 */
export function createRunStore (units: UnitsOfWork, unreadable: UnreadableRuns): RunStore {
  return {
    accept: async (message) => await acceptance(units, acceptMessage(message)),

    regenerate: async (run) => await acceptance(units, regenerateMessage(run)),

    claimNext: async (threadId, { worker, leaseMs }) => await units.asUser(async (unit) => {
      const claim = sql<Selectable<RunsTable>>`select * from threadline.claim_next(${threadId}, ${worker}, ${leaseMs})`
      const [row] = await unit.lastRows(claim)
      return row === undefined ? undefined : ownRecord(row)
    }),

    require: async (runId) => await units.asUser(async (unit) => {
      const [row] = await unit.lastRows(ownRuns().where('run_id', '=', runId))
      if (row === undefined) throw new ThreadlineError('THREADLINE_RUN_NOT_FOUND')
      return ownRecord(row)
    }),

    unfinished: async (threadId) => await units.asUser(async (unit) => {
      const unfinished = ownRuns().where('thread_id', '=', threadId).where('status', 'in', ['queued', 'running'])
      return (await unit.lastRows(unfinished.orderBy('ordinal'))).map(ownRecord)
    }),

    unfinishedThreads: async () => await units.asUser(async (unit) => {
      const threads = query.selectFrom('runs').select('thread_id').distinct()
        .where('user_id', '=', currentIdentity().userId).where('status', 'in', ['queued', 'running'])
      return (await unit.lastRows(threads)).map(({ thread_id: threadId }) => toThreadId(threadId))
    }),

    list: async (threadId, page) => await units.asUser(async (unit) => await listRuns(unit, threadId, page)),

    openTools: async (runId) => await units.asUser(async (unit) => toOpenTools(await unit.lastRows(toolEventsOf(runId)))),

    firstSequence: async (runId) => await units.asUser(async (unit) => (await unit.lastRows(firstEventOf(runId)))[0]?.sequence),

    recoverable: async () => await units.asSystem(async (unit) => {
      const unfinished = query.selectFrom('runs').selectAll().where('status', 'in', ['queued', 'running'])
      return unreadable.passOver(await unit.lastRows(unfinished.orderBy('ordinal'))).map(toRunRecord)
    })
  }
}

async function acceptance (units: UnitsOfWork, call: Query<AcceptanceRow>): Promise<Acceptance> {
  const [row] = await units.asUser(async (unit) => await unit.lastRows(call))
  if (row === undefined) throw new Error('An acceptance is one row')
  return {
    messageId: row.message_id as MessageId, // a uuid column that only message ids are written to
    runId: toRunId(row.run_id),
    duplicate: row.duplicate,
    position: row.standing,
    thread: toThreadView(row)
  }
}

function acceptMessage (message: AcceptedMessage): Query<AcceptanceRow> {
  const { requestId, connectionId } = currentIdentity()
  return sql<AcceptanceRow>`
    select * from threadline.accept_message(
      ${message.messageId}, ${message.runId}, ${message.threadId}, ${message.newThread}, ${message.editOf ?? null},
      ${storableText(message.content, 'content')}, ${JSON.stringify(message.metadata)},
      ${storableText(message.clientId ?? null, 'id')}, ${storableText(message.agent, 'agent')},
      ${JSON.stringify(message.context)}, ${message.strategy}, ${storableText(message.traceparent ?? null, 'traceparent')},
      ${message.maxWaiting}, ${requestId}, ${connectionId ?? null}, ${storableText(message.signature, 'signature')})`
}

function regenerateMessage (run: Regeneration): Query<AcceptanceRow> {
  const { requestId, connectionId } = currentIdentity()
  return sql<AcceptanceRow>`
    select * from threadline.regenerate_message(
      ${run.runId}, ${run.threadId}, ${run.messageId ?? null}, ${storableText(run.clientId ?? null, 'id')},
      ${storableText(run.agent ?? null, 'agent')}, ${storableText(run.defaultAgent, 'agent')}, ${JSON.stringify(run.context)},
      ${run.strategy}, ${storableText(run.traceparent ?? null, 'traceparent')}, ${run.maxWaiting}, ${requestId},
      ${connectionId ?? null}, ${storableText(run.signature, 'signature')})`
}

async function listRuns (unit: UnitOfWork, threadId: ThreadId, { limit, before }: { limit: number, before?: RunId | undefined }) {
  const runs = ownRuns().where('thread_id', '=', threadId)
  // Both at once: they travel behind each other and are answered in one round trip.
  const [, older] = await Promise.all([
    requireThread(unit, threadId),
    before === undefined ? undefined : unit.rows(runs.where('run_id', '=', before))
  ])
  const [than] = older ?? []
  if (before !== undefined && than === undefined) throw new ThreadlineError('THREADLINE_RUN_NOT_FOUND')
  const page = than === undefined ? runs : runs.where('ordinal', '<', than.ordinal)
  const rows = await unit.lastRows(page.orderBy('ordinal', 'desc').limit(limit + 1))
  return { runs: rows.slice(0, limit).map(ownRecord), hasMore: rows.length > limit }
}

function ownRuns () {
  return query.selectFrom('runs').selectAll().where('user_id', '=', currentIdentity().userId)
}

function ownRecord (row: Selectable<RunsTable>): RunRecord {
  const record = toRunRecord(row)
  guard({ userId: record.userId }, 'storage')
  return record
}
