import { currentThread } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import { toRunId } from '../protocol/ids.ts'
import type { Handler } from './handler.ts'
import { toRunView } from './run-view.ts'

/** A run of the thread. One of another thread is not there, whosever it is. */
export const getRun: Handler<'get_run'> = async ({ payload }, connection, { storage }) => {
  const run = await storage.runs.require(toRunId(payload.run_id))
  if (run.threadId !== currentThread().threadId) throw new ThreadlineError('THREADLINE_RUN_NOT_FOUND')

  connection.reply('run_state', toRunView(run))
}
