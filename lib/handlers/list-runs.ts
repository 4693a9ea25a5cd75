import { currentThread } from '../context/current-thread.ts'
import { toRunId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'
import { toRunView } from './run-view.ts'

/** The runs of the thread, newest first. */
export const listRuns: Handler<'list_runs'> = async ({ payload }, connection, { storage }) => {
  const { limit = 20 } = payload
  const before = payload.before === undefined ? undefined : toRunId(payload.before)
  const { runs, hasMore } = await storage.runs.list(currentThread().threadId, { limit, before })

  connection.reply('run_list', { runs: runs.map(toRunView), has_more: hasMore })
}
