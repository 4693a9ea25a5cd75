import { attributes } from '../context/attributes.ts'
import { withHop } from '../context/hop.ts'
import type { Command, CommandType } from '../protocol/commands.ts'
import { authenticate } from './authenticate.ts'
import { createThread } from './create-thread.ts'
import { deleteThread } from './delete-thread.ts'
import { getThreadHistory } from './get-thread-history.ts'
import type { CommandNeeds, Handler, HandlerConnection, HandlerTools } from './handler.ts'
import { listThreads } from './list-threads.ts'
import { ping } from './ping.ts'
import { renameThread } from './rename-thread.ts'
import { startAgent } from './start-agent.ts'
import { stopAgent } from './stop-agent.ts'
import { switchThread } from './switch-thread.ts'
import { typing } from './typing.ts'
import { userMessage } from './user-message.ts'

const handlers: { readonly [Name in CommandType]: Handler<Name> } = {
  user_message: userMessage,
  start_agent: startAgent,
  stop_agent: stopAgent,
  create_thread: createThread,
  rename_thread: renameThread,
  delete_thread: deleteThread,
  list_threads: listThreads,
  switch_thread: switchThread,
  get_thread_history: getThreadHistory,
  authenticate,
  typing,
  ping
}

/** What each command needs of its identity. */
export const commandNeeds: { readonly [Name in CommandType]: CommandNeeds } = {
  user_message: { thread: 'created', run: true },
  start_agent: { thread: 'created', run: true },
  stop_agent: { thread: 'required', run: false },
  create_thread: { thread: 'none', run: false },
  rename_thread: { thread: 'target', run: false },
  delete_thread: { thread: 'target', run: false },
  list_threads: { thread: 'none', run: false },
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
