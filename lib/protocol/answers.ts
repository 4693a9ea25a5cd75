import type { CommandType } from './commands.ts'
import type { EventType } from './events.ts'

/**
 * Which event answers which command, instead of which an `error` may come. A command can cause more (`thread_created` before the first
 * `message_accepted`), of which none is its answer.
 */
export const answers = {
  user_message: ['message_accepted'],
  start_agent: ['run_created'],
  regenerate: ['run_created'],
  select_branch: ['branch_selected'],
  stop_agent: ['runs_stopping'],
  get_run: ['run_state'],
  get_run_isolation: ['run_isolation'],
  list_runs: ['run_list'],
  resume: ['resumed', 'resync_required'],
  create_thread: ['thread_created'],
  get_thread: ['thread_state'],
  update_thread: ['thread_updated'],
  archive_thread: ['thread_updated'],
  restore_thread: ['thread_updated'],
  fork_thread: ['thread_created'],
  rename_thread: ['thread_updated'],
  delete_thread: ['thread_deleted'],
  list_threads: ['thread_list'],
  search_threads: ['search_results'],
  switch_thread: ['thread_switched'],
  get_thread_history: ['thread_history'],
  authenticate: ['token_renewed'],
  typing: ['typing'],
  ping: ['pong']
} as const satisfies Record<CommandType, readonly EventType[]>

export type Answers = typeof answers
export type AnswerType<Name extends CommandType> = Answers[Name][number]
