import { attributes } from '../context/attributes.ts'
import { withHop } from '../context/hop.ts'
import type { Command, CommandType } from '../protocol/commands.ts'
import { archiveThread } from './archive-thread.ts'
import { authenticate } from './authenticate.ts'
import { createThread } from './create-thread.ts'
import { deleteThread } from './delete-thread.ts'
import { forkThread } from './fork-thread.ts'
import { getRunIsolation } from './get-run-isolation.ts'
import { getRun } from './get-run.ts'
import { getThreadHistory } from './get-thread-history.ts'
import { getThread } from './get-thread.ts'
import type { CommandNeeds, Handler, HandlerConnection, HandlerTools } from './handler.ts'
import { listRuns } from './list-runs.ts'
import { listThreads } from './list-threads.ts'
import { ping } from './ping.ts'
import { regenerate } from './regenerate.ts'
import { renameThread } from './rename-thread.ts'
import { restoreThread } from './restore-thread.ts'
import { resume } from './resume.ts'
import { searchThreads } from './search-threads.ts'
import { selectBranch } from './select-branch.ts'
import { startAgent } from './start-agent.ts'
import { stopAgent } from './stop-agent.ts'
import { switchThread } from './switch-thread.ts'
import { typing } from './typing.ts'
import { updateThread } from './update-thread.ts'
import { userMessage } from './user-message.ts'

const handlers: { readonly [Name in CommandType]: Handler<Name> } = {
  user_message: userMessage,
  regenerate,
  select_branch: selectBranch,
  start_agent: startAgent,
  stop_agent: stopAgent,
  get_run: getRun,
  get_run_isolation: getRunIsolation,
  list_runs: listRuns,
  resume,
  create_thread: createThread,
  get_thread: getThread,
  update_thread: updateThread,
  archive_thread: archiveThread,
  restore_thread: restoreThread,
  fork_thread: forkThread,
  rename_thread: renameThread,
  delete_thread: deleteThread,
  list_threads: listThreads,
  search_threads: searchThreads,
  switch_thread: switchThread,
  get_thread_history: getThreadHistory,
  authenticate,
  typing,
  ping
}

/** What each command needs of its identity. */
export const commandNeeds: { readonly [Name in CommandType]: CommandNeeds } = {
  user_message: { thread: 'created', run: true },
  regenerate: { thread: 'required', run: true },
  select_branch: { thread: 'required', run: false },
  start_agent: { thread: 'created', run: true },
  stop_agent: { thread: 'required', run: false },
  get_run: { thread: 'required', run: false },
  get_run_isolation: { thread: 'required', run: false },
  list_runs: { thread: 'required', run: false },
  resume: { thread: 'required', run: false },
  create_thread: { thread: 'none', run: false },
  get_thread: { thread: 'target', run: false },
  update_thread: { thread: 'target', run: false },
  archive_thread: { thread: 'target', run: false },
  restore_thread: { thread: 'target', run: false, deleted: true },
  fork_thread: { thread: 'target', run: false },
  rename_thread: { thread: 'target', run: false },
  delete_thread: { thread: 'target', run: false },
  list_threads: { thread: 'none', run: false },
  search_threads: { thread: 'none', run: false },
  switch_thread: { thread: 'target', run: false },
  get_thread_history: { thread: 'required', run: false },
  authenticate: { thread: 'none', run: false },
  typing: { thread: 'required', run: false },
  ping: { thread: 'none', run: false }
}

/** Carries out a command in the active identity, as the hop `handler`. Throws what the handler throws. */
export async function handleCommand (command: Command, connection: HandlerConnection, tools: HandlerTools): Promise<void> {
  await withHop('handler', { attributes: { [attributes.command]: command.type } }, async () => {
    const handle = handlers[command.type] as Handler<CommandType> // the table pairs each type with its own handler
    await handle(command, connection, tools)
  })
}
