import type { Answers, AnswerType } from '../lib/protocol/answers.ts'
import type { CommandOf, CommandType } from '../lib/protocol/commands.ts'
import type { ServerEvent } from '../lib/protocol/events.ts'

/** The protocol's table, which the compiler holds this one to: the client takes nothing but types from the server. */
export const answers: Answers = {
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
}

export type AnswerTo<Name extends CommandType> = ServerEvent<AnswerType<Name>>

/** A command as the caller writes it. Without `id` it gets one. */
export interface CommandToSend<Name extends CommandType> {
  readonly type: Name
  readonly id?: string
  /** The thread of this command only; without it, the connection's. */
  readonly thread_id?: string
  readonly payload: CommandOf<Name>['payload']
  readonly traceparent?: string
}
