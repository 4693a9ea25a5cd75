import type { CommandOf, CommandType } from '../../../lib/protocol/commands.ts'
import type { Ids } from './ids.ts'

/** The ways in which a command is sent, each a payload made of somebody's ids. */
type Payloads<Name extends CommandType> = readonly [Payload<Name>, ...Payload<Name>[]]
type Payload<Name extends CommandType> = (ids: Ids) => CommandOf<Name>['payload']

const target = ({ thread }: Ids): { readonly thread_id: string } => ({ thread_id: thread })

/** How each command is sent. */
export const commandEntries: { readonly [Name in CommandType]: Payloads<Name> } = {
  user_message: [({ message }) => ({ content: 'once more', edit_of: message }), () => ({ content: 'hello' })],
  regenerate: [({ answer }) => ({ message_id: answer }), () => ({})],
  select_branch: [({ message }) => ({ message_id: message })],
  start_agent: [() => ({ agent: 'assistant', input: 'hello' })],
  stop_agent: [({ run }) => ({ run_id: run }), () => ({})],
  get_run: [({ run }) => ({ run_id: run })],
  get_run_isolation: [({ run }) => ({ run_id: run })],
  list_runs: [({ beforeRun }) => ({ before: beforeRun }), () => ({})],
  resume: [() => ({ after: 0, epoch: 'of another database' })],
  create_thread: [() => ({ title: 'New' })],
  get_thread: [target],
  update_thread: [(ids) => ({ ...target(ids), title: 'Changed', metadata: {} })],
  archive_thread: [target],
  restore_thread: [target],
  fork_thread: [(ids) => ({ ...target(ids), message_id: ids.message }), target],
  rename_thread: [(ids) => ({ ...target(ids), title: 'Changed' })],
  delete_thread: [target],
  list_threads: [({ threadCursor }) => ({ cursor: threadCursor }), () => ({ state: 'deleted' })],
  search_threads: [({ word }) => ({ query: word }), ({ word, searchCursor }) => ({ query: word, cursor: searchCursor })],
  switch_thread: [target],
  get_thread_history: [({ beforeMessage }) => ({ before: beforeMessage }), () => ({})],
  authenticate: [({ token }) => ({ token })],
  typing: [() => ({})],
  ping: [() => ({})]
}
