import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import { toRunId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'

/** What was seen of a run of the thread. One of another thread is not there, whosever it is. */
export const getRunIsolation: Handler<'get_run_isolation'> = async ({ payload }, connection, { storage, reportIsolation }) => {
  const run = await storage.runs.require(toRunId(payload.run_id))
  if (run.threadId !== currentThread().threadId) throw new ThreadlineError('THREADLINE_RUN_NOT_FOUND')

  connection.reply('run_isolation', await reportIsolation(run))
}
