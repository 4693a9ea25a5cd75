import { randomBytes } from 'node:crypto'
import t from 'tap'
import { signCarrier } from '../../lib/context/carrier.ts'
import type { Identity } from '../../lib/context/identity.ts'
import { metricDefinitions } from '../../lib/context/metric-definitions.ts'
import { createSigner, type SignatureRefusal } from '../../lib/context/signature.ts'
import { createInProcessHub } from '../../lib/events/in-process-bus.ts'
import { newConnectionId, newMessageId, newRequestId, newRunId } from '../../lib/protocol/ids.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import { watchCounters } from '../support/counters.ts'
import { enqueue, startNode, untilRun } from '../support/engine-nodes.ts'
import { testKey, type testSigner } from '../support/engine-parts.ts'
import { collectSpans } from '../support/spans.ts'
import { as, newcomer, onEachDatabase, type TestDatabase } from '../support/storage-databases.ts'
import { readThread } from '../support/stored-thread.ts'

const spans = collectSpans()
const ended = ({ finishedAt }: RunRecord): boolean => finishedAt !== null
const foreignTrace = '0123456789abcdef0123456789abcdef'
const foreignSigner = createSigner([randomBytes(32)])
/** Has the right key, and a clock that is two days late. */
const formerSigner = createSigner([testKey], () => Date.now() - 48 * 60 * 60 * 1_000)

interface Stage extends TestDatabase {
  readonly victim: Identity
  readonly run: RunRecord
  /** Of another user, and signed rightly. */
  readonly others: RunRecord
}

interface Forgery {
  readonly what: string
  readonly reason: SignatureRefusal
  /** What somebody who writes past row-level security makes of a run that waits; the run that must not be executed. */
  readonly forge: (stage: Stage) => Promise<Pick<RunRecord, 'runId'>>
}

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`

/** Writes past row-level security, which binds the owner of the tables as well. */
async function past ({ ask }: Pick<TestDatabase, 'ask'>, statement: string): Promise<void> {
  await ask(`
    begin; alter table threadline.runs no force row level security; ${statement};
    alter table threadline.runs force row level security; commit`)
}

function change (column: string, valueOf: (stage: Stage) => string): Forgery['forge'] {
  return async (stage) => {
    await past(stage, `update threadline.runs set ${column} = ${valueOf(stage)} where run_id = ${text(stage.run.runId)}`)
    return stage.run
  }
}

function signedBy (signer: typeof testSigner, { userId, threadId, runId, requestId }: RunRecord): string {
  return text(signCarrier(signer, { userId, threadId, runId, requestId, connectionId: undefined, traceparent: undefined }))
}

/** A run of the attacker's in the victim's thread, before what waits there, with a signature that is right for the attacker's own. */
async function plant ({ run, others, ...stage }: Stage): Promise<Pick<RunRecord, 'runId'>> {
  const runId = newRunId(run.threadId)
  await past(stage, `
    insert into threadline.runs (run_id, ordinal, thread_id, user_id, message_id, request_id, agent, input, context, signature) overriding system value
    values (${text(runId)}, 0, ${text(run.threadId)}, ${text(run.userId)}, ${text(newMessageId())}, ${text(others.requestId)}, 'halting', 'forged', '{}', ${text(others.signature ?? '')})`)
  return { runId }
}

const forgeries: readonly Forgery[] = [
  { what: 'has no signature', reason: 'missing', forge: change('signature', () => 'null') },
  { what: 'has something else as its signature', reason: 'malformed', forge: change('signature', () => text('signed, alice')) },
  { what: 'is signed with a key that is not ours', reason: 'foreign', forge: change('signature', ({ run }) => signedBy(foreignSigner, run)) },
  { what: 'was signed too long ago', reason: 'expired', forge: change('signature', ({ run }) => signedBy(formerSigner, run)) },
  { what: 'has the signature of another user\'s run', reason: 'forged', forge: change('signature', ({ others }) => text(others.signature ?? '')) },
  { what: 'was put into another user\'s thread', reason: 'forged', forge: plant },
  { what: 'names another request', reason: 'forged', forge: change('request_id', () => text(newRequestId())) },
  { what: 'names a connection', reason: 'forged', forge: change('connection_id', () => text(newConnectionId())) },
  { what: 'goes on in another trace', reason: 'forged', forge: change('traceparent', () => text(`00-${foreignTrace}-0123456789abcdef-01`)) }
]

onEachDatabase(t, async (t, database) => {
  const { storage } = database

  for (const { what, reason, forge } of forgeries) {
    t.test(`a run that ${what} is not executed, lends nothing, and holds nobody up`, async (t) => {
      // kill: `const trusted = true` in `enterRun` of lib/engine/enter-run.ts
      const counts = watchCounters(t)
      const [victim, attacker] = [newcomer('victim'), newcomer('attacker')]
      const { run, thread } = await enqueue(storage, victim, { content: 'forged' })
      const behind = await enqueue(storage, victim, { content: 'behind', threadId: run.threadId })
      const others = await enqueue(storage, attacker, { content: 'of the attacker' })
      const { runId } = await forge({ ...database, victim, run, others: others.run })

      const worker = await startNode(t, storage, createInProcessHub())
      as(thread, () => { worker.engine.launch() })
      const refused = await untilRun(storage, victim, { runId }, ended)
      for (const content of runId === run.runId ? ['behind', 'of the attacker'] : ['forged', 'behind', 'of the attacker']) {
        (await worker.halted.next((halted) => halted.content === content)).goOn()
      }
      const next = await untilRun(storage, victim, behind.run, ended)

      t.match([refused, next], [{ status: 'failed' }, { status: 'completed' }])
      const { events } = await readThread(storage, victim.userId, run.threadId)
      t.match(events.filter(({ run_id: id }) => id === runId), [
        { type: 'agent_completed', payload: { status: 'failed', reason: 'not_trusted', error: { code: 'THREADLINE_UNTRUSTED_RUN', retryable: false } } }
      ])
      t.equal(events.filter(({ run_id: id }) => id === runId).length, 1, 'it was never begun')
      t.not(events.find(({ run_id: id }) => id === runId)?.request_id, others.run.requestId)
      t.same(counts.filter(({ counter }) => counter === metricDefinitions.refusedSignatures.name).map(({ value, attributes }) => [value, attributes]),
        [[1, { audience: 'run', reason }]])
      t.same(spans.spans().filter((span) => span.spanContext().traceId === foreignTrace), [])
      t.same(worker.halted.waiting, [])
      t.same(worker.logger.lines.filter(({ level }) => level === 'error'), [])
    })
  }

  t.test('a run cannot be moved to another thread, of its user or of another', async (t) => {
    // kill: no `runs_in_their_thread` in lib/storage/migrations/0011-runs-in-their-thread.ts
    const [victim, attacker] = [newcomer('victim'), newcomer('attacker')]
    const [{ run }, others] = [await enqueue(storage, victim), await enqueue(storage, attacker)]

    await t.rejects(past(database, `
      update threadline.runs set user_id = ${text(victim.userId)}, thread_id = ${text(run.threadId)} where run_id = ${text(others.run.runId)}`), /runs_in_their_thread/)
    for (const { userId, threadId, runId } of [run, others.run]) {
      await as({ ...victim, userId }, async () => { await storage.threads.remove(threadId) })
      t.match(await as({ ...victim, userId }, async () => await storage.runs.require(runId)), { status: 'cancelled' })
    }
  })
})
