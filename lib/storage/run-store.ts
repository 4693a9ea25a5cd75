import { sql, type Selectable } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { guard } from '../context/guard.ts'
import { ThreadlineError } from '../errors.ts'
import { toRunId, type MessageId } from '../protocol/ids.ts'
import { toRunRecord } from './run-record.ts'
import { storableText } from './storable-text.ts'
import type { AcceptedMessage, RunRecord, RunStore } from './storage.ts'
import { query, type RunsTable } from './tables.ts'
import { requireThread, toThreadView, type ThreadRow } from './thread-store.ts'
import type { UnitsOfWork } from './unit-of-work.ts'

type AcceptanceRow = ThreadRow & {
  readonly message_id: string
  readonly run_id: string
  readonly duplicate: boolean
  readonly standing: number
}

/**
 * The runs of the active user. What must happen at once is a function of the database, `threadline.accept_message` and
 * `threadline.claim_next`: one round trip, and no lock is held while a process thinks.
 */
export function createRunStore (units: UnitsOfWork): RunStore {
  return {
    accept: async (message) => {
      const call = acceptMessage(message)
      const [row] = await units.asUser(async (unit) => await unit.lastRows(call))
      if (row === undefined) throw new Error('accept_message returns one row')
      return {
        messageId: row.message_id as MessageId, // a uuid column that only message ids are written to
        runId: toRunId(row.run_id),
        duplicate: row.duplicate,
        position: row.standing,
        thread: toThreadView(row)
      }
    },

    claimNext: async (threadId) => await units.asUser(async (unit) => {
      const claim = sql<Selectable<RunsTable>>`select * from threadline.claim_next(${threadId})`
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

    list: async (threadId, limit) => await units.asUser(async (unit) => {
      await requireThread(unit, threadId)
      const newest = ownRuns().where('thread_id', '=', threadId).orderBy('ordinal', 'desc').limit(limit)
      return (await unit.lastRows(newest)).map(ownRecord)
    }),

    recoverable: async () => await units.asSystem(async (unit) => {
      const unfinished = query.selectFrom('runs').selectAll().where('status', 'in', ['queued', 'running'])
      return (await unit.lastRows(unfinished.orderBy('ordinal'))).map(toRunRecord)
    })
  }
}

function acceptMessage (message: AcceptedMessage) {
  const { requestId, connectionId } = currentIdentity()
  return sql<AcceptanceRow>`
    select * from threadline.accept_message(
      ${message.messageId}, ${message.runId}, ${message.threadId}, ${message.newThread},
      ${storableText(message.content, 'content')}, ${JSON.stringify(message.metadata)},
      ${storableText(message.clientId ?? null, 'id')}, ${storableText(message.agent, 'agent')},
      ${JSON.stringify(message.context)}, ${message.strategy}, ${storableText(message.traceparent ?? null, 'traceparent')},
      ${message.maxWaiting}, ${requestId}, ${connectionId ?? null})`
}

function ownRuns () {
  return query.selectFrom('runs').selectAll().where('user_id', '=', currentIdentity().userId)
}

function ownRecord (row: Selectable<RunsTable>): RunRecord {
  const record = toRunRecord(row)
  guard({ userId: record.userId }, 'storage')
  return record
}
