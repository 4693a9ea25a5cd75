import { sql } from 'kysely'
import t from 'tap'
import { newMessageId, newRequestId, newRunId, newThreadId } from '../../lib/protocol/ids.ts'
import { migrate } from '../../lib/storage/migrate.ts'
import { openStores } from '../../lib/storage/open-storage.ts'
import { createUnitsOfWork } from '../../lib/storage/unit-of-work.ts'
import { onEachEarlierDatabase } from '../support/earlier-database.ts'
import { as, completionOf, lease, messageOf, newcomer } from '../support/storage-databases.ts'

onEachEarlierDatabase(t, 'a thread from before it could be a tree is one branch, and goes on', '0005-epoch', async (t, pool) => {
  const alice = newcomer()
  const threadId = newThreadId()
  const [first, answer, second] = [newMessageId(), newMessageId(), newMessageId()]
  const [ended, queued] = [newRunId(threadId), newRunId(threadId)]
  const units = createUnitsOfWork(pool, { statementTimeoutMs: 15_000, lockTimeoutMs: 5_000 })
  await as(alice, async () => await units.asUser(async (unit) => {
    await unit.rows(sql`insert into threadline.threads (thread_id, user_id) values (${threadId}, ${alice.userId})`)
    for (const [run, message, status] of [[ended, first, 'completed'], [queued, second, 'queued']] as const) {
      await unit.rows(sql`
        insert into threadline.runs (run_id, thread_id, user_id, message_id, request_id, agent, input, context, status)
          values (${run}, ${threadId}, ${alice.userId}, ${message}, ${newRequestId()}, 'assistant', ${run}, '{}', ${status})`)
    }
    for (const [id, run, role, clientId] of [[first, ended, 'user', 'm-1'], [second, queued, 'user', null], [answer, ended, 'assistant', null]]) {
      await unit.rows(sql`
        insert into threadline.messages (thread_id, message_id, user_id, run_id, turn, role, content, client_id)
          select ${threadId}, ${id}, ${alice.userId}, ${run}, r.ordinal, ${role}, ${run}, ${clientId}
            from threadline.runs r where r.run_id = ${run}`)
    }
  }))

  await migrate(pool)
  const storage = await openStores(units, async () => undefined)

  const visible = async () => (await as(alice, async () => await storage.messages.history(threadId, { limit: 9 }))).messages
    .map((message) => message.message_id)
  t.same(await visible(), [first, answer, second])
  t.match(await as(alice, async () => await storage.runs.accept(messageOf({ clientId: 'm-1', content: ended }))), {
    duplicate: true, runId: ended, messageId: first
  })
  const run = await as(alice, async () => await storage.runs.claimNext(threadId, lease))
  if (run === undefined) throw new Error('One was queued')
  const last = newMessageId()
  await storage.events.append([completionOf(run, { message_id: last, content: 'x' })])
  t.same(await visible(), [first, answer, second, last])
})
