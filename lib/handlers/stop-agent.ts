import { toRunId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'

/** Stops a run of the thread, or all of them. Their terminal events follow the answer. */
export const stopAgent: Handler<'stop_agent'> = async ({ payload }, connection, { engine }) => {
  const runId = payload.run_id === undefined ? undefined : toRunId(payload.run_id)
  const stopped = await engine.stop({ runId, reason: 'cancelled' })

  connection.reply('runs_stopping', { run_ids: [...stopped] })
}
