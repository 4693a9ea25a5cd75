import type { Identity } from '../../lib/context/identity.ts'
import { newMessageId } from '../../lib/protocol/ids.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { as, completionOf, deltaOf, newcomer, runningRun } from './storage-databases.ts'

export interface Settler {
  readonly user: Identity
  /** In a thread of its own, and gone on with. */
  readonly run: RunRecord
  /** In another thread, which has a row in every table that hangs on threads. */
  readonly ended: RunRecord
}

/** Somebody with a row in every table. `ask` asks the database as its login. */
export async function settler (storage: Storage, ask: (text: string) => Promise<unknown>): Promise<Settler> {
  const user = newcomer()
  const ended = await runningRun(storage, user)
  await storage.events.append([deltaOf(ended), completionOf(ended, { message_id: newMessageId(), content: 'Done' })])
  await as(user, async () => { await storage.tickets.issue(`hash of ${user.userId}`, { tokenExpiresAt: null }, new Date(Date.now() + 60_000)) })
  await storage.limits.admit([{ userId: user.userId, count: 1 }], { limit: 10, windowMs: 60_000 })
  const keys = `'${ended.runId}', '${ended.threadId}', '${user.userId}'`
  await ask(`
    begin; set local role threadline_app; set local threadline.user_id = '${user.userId}';
    insert into threadline.approvals (run_id, thread_id, user_id, approval_id, tool, parameters)
      values (${keys}, '${newMessageId()}', 'x', '{}');
    insert into threadline.run_steps (run_id, thread_id, user_id, key, body) values (${keys}, 'model:/0', '{}');
    insert into threadline.usage (run_id, thread_id, user_id, step, model, input_tokens, output_tokens) values (${keys}, 0, 'x', 1, 1);
    commit`)
  return { user, ended, run: await runningRun(storage, user) }
}
