import type { CommandOf, CommandType } from './commands.ts'
import { exampleIds as ids } from './example-ids.ts'

interface Guide<Name extends CommandType> {
  /** What the command does, in a sentence. */
  readonly summary: string
  readonly example: CommandOf<Name>['payload']
  /** The thread that the example names beside its payload. */
  readonly threadId?: string
}

/** What each command is for, as the contract tells it. */
export const commandGuide: { readonly [Name in CommandType]: Guide<Name> } = {
  user_message: {
    summary: 'A message to an agent. Without any thread, a new one is made (`thread_created`) and entered.',
    example: { content: 'Which otters are there?', multitask_strategy: 'enqueue' },
    threadId: ids.thread
  },
  regenerate: { summary: 'Answers a message once more, beside the answer that it has.', example: { message_id: ids.message }, threadId: ids.thread },
  select_branch: { summary: 'Makes the newest branch that leads through a message the visible one.', example: { message_id: ids.answer }, threadId: ids.thread },
  start_agent: {
    summary: 'Starts a named agent on an input, which becomes the message.',
    example: { agent: 'assistant', input: 'Which otters are there?', context: { page: 'animals' } }
  },
  stop_agent: { summary: 'Stops a run, or all of the thread; their ends follow.', example: { run_id: ids.run }, threadId: ids.thread },
  get_run: { summary: 'One run.', example: { run_id: ids.run }, threadId: ids.thread },
  get_run_isolation: { summary: 'What was seen of one run: whom it served on its way, and who was told of it.', example: { run_id: ids.run }, threadId: ids.thread },
  list_runs: { summary: 'The runs of the thread, newest first.', example: { limit: 20 }, threadId: ids.thread },
  resume: {
    summary: 'Enters a thread, or stays in it, and gets what was missed there: those events, then the answer.',
    example: { after: 41, epoch: ids.epoch },
    threadId: ids.thread
  },
  create_thread: { summary: 'Makes a thread, without entering it.', example: { title: 'Otters' } },
  get_thread: { summary: 'The thread, where it stands and what goes on in it.', example: { thread_id: ids.thread } },
  update_thread: { summary: 'Changes title or metadata.', example: { thread_id: ids.thread, metadata: { colour: 'green' } } },
  archive_thread: { summary: 'Takes the thread out of the list; a new message brings it back.', example: { thread_id: ids.thread } },
  restore_thread: { summary: 'Brings an archived or deleted thread back as it was.', example: { thread_id: ids.thread } },
  fork_thread: { summary: 'Makes a new thread out of the messages up to one.', example: { thread_id: ids.thread, message_id: ids.answer } },
  rename_thread: { summary: 'Changes the title.', example: { thread_id: ids.thread, title: 'Otters and their kin' } },
  delete_thread: { summary: 'Stops the runs of a thread and hides it. It can be restored until it is purged.', example: { thread_id: ids.thread } },
  list_threads: { summary: 'The threads in use, archived or deleted, newest first, in pages.', example: { state: 'active', limit: 20 } },
  search_threads: { summary: 'Threads whose title or messages match, the best first.', example: { query: 'giant otter' } },
  switch_thread: { summary: 'Enters a thread: its newest messages and where it stands. Runs in the old one go on.', example: { thread_id: ids.thread } },
  get_thread_history: { summary: 'Messages of the visible branch, oldest first: the last ones, or those before one.', example: { limit: 50 }, threadId: ids.thread },
  authenticate: { summary: 'Gives a fresh token of the same user before the old one expires.', example: { token: 'a-fresh-token' } },
  typing: { summary: 'Tells the other connections of the thread that the user is typing. Nothing is kept.', example: { is_typing: true } },
  ping: { summary: 'Asks whether the server hears.', example: {} }
}

/** The example as it goes over the wire, with an id of the client's. */
export function commandExample (type: CommandType): Record<string, unknown> {
  const { example, threadId } = commandGuide[type]
  return { type, id: 'c-17', ...(threadId === undefined ? {} : { thread_id: threadId }), payload: example }
}
