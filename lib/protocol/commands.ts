import { Type, type Static, type TObject, type TProperties } from 'typebox'
import { runIdPattern, uuidPattern } from './ids.ts'

/** What clients may send over `threadline.v1`. One JSON object a frame. */

export const maxContentCharacters = 32_000

/** How deep a payload may be nested: what handles it further goes through it recursively. */
export const maxPayloadLevels = 32

const ThreadIdText = Type.String({ pattern: uuidPattern, description: 'A thread of the user (UUIDv7)' })
const Title = Type.String({ minLength: 1, maxLength: 200, pattern: '\\S' })
const Metadata = Type.Record(Type.String({ pattern: '^[\\s\\S]{0,64}$' }), Type.Unknown(), {
  maxProperties: 32, additionalProperties: false, description: 'At most 32 names of 64 characters; the whole is nested at most 32 deep'
})

const AgentName = Type.String({ minLength: 1, maxLength: 64 })
const Limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: '20 when absent' }))
const Cursor = Type.String({ minLength: 1, maxLength: 256, description: 'The next_cursor of the page before' })
const MessageIdText = (description: string) => Type.String({ pattern: uuidPattern, description })

/** Which threads are listed: those in use, those put away, or those that are deleted and can still be restored. */
export const ListedState = Type.Union([
  Type.Literal('active'), Type.Literal('archived'), Type.Literal('deleted')
], { description: 'active (default) · archived · deleted: those that can still be restored' })
export type ListedState = Static<typeof ListedState>

/** What to do when the thread already has an active run. */
export const MultitaskStrategy = Type.Union([
  Type.Literal('reject'), Type.Literal('enqueue'), Type.Literal('interrupt'), Type.Literal('rollback')
], {
  description: 'reject: refuse · enqueue: wait (default) · interrupt: cancel the unfinished runs, keeping what they have answered · ' +
    'rollback: cancel them, and remove their messages'
})
export type MultitaskStrategy = Static<typeof MultitaskStrategy>

function command<Name extends string, Payload extends TProperties> (name: Name, payload: TObject<Payload>) {
  return Type.Object({
    type: Type.Literal(name),
    id: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'The client\'s own id; comes back as reply_to' })),
    thread_id: Type.Optional(ThreadIdText),
    payload,
    traceparent: Type.Optional(Type.String({ maxLength: 128, description: 'Becomes a link of the trace, never its parent' }))
  })
}

const strict = { additionalProperties: false } as const
const nothing = Type.Object({}, strict)

export const commandSchemas = {
  user_message: command('user_message', Type.Object({
    content: Type.String({ minLength: 1, maxLength: maxContentCharacters, pattern: '\\S' }),
    agent: Type.Optional(AgentName),
    multitask_strategy: Type.Optional(MultitaskStrategy),
    metadata: Type.Optional(Metadata),
    edit_of: Type.Optional(MessageIdText('A message of the user, beside which this one stands; the visible branch goes on from here'))
  }, strict)),
  regenerate: command('regenerate', Type.Object({
    message_id: Type.Optional(MessageIdText('The message to answer once more, or an answer to it; the last one when absent')),
    agent: Type.Optional(AgentName),
    multitask_strategy: Type.Optional(MultitaskStrategy)
  }, strict)),
  select_branch: command('select_branch', Type.Object({
    message_id: MessageIdText('The visible branch becomes the newest one that leads through this message')
  }, strict)),
  start_agent: command('start_agent', Type.Object({
    agent: AgentName,
    input: Type.String({ minLength: 1, maxLength: maxContentCharacters, pattern: '\\S' }),
    context: Type.Optional(Metadata)
  }, strict)),
  stop_agent: command('stop_agent', Type.Object({
    run_id: Type.Optional(Type.String({ pattern: runIdPattern }))
  }, strict)),
  get_run: command('get_run', Type.Object({ run_id: Type.String({ pattern: runIdPattern }) }, strict)),
  get_run_isolation: command('get_run_isolation', Type.Object({ run_id: Type.String({ pattern: runIdPattern }) }, strict)),
  list_runs: command('list_runs', Type.Object({
    before: Type.Optional(Type.String({ pattern: runIdPattern, description: 'Only runs older than this one' })),
    limit: Limit
  }, strict)),
  resume: command('resume', Type.Object({
    after: Type.Integer({ minimum: 0, description: 'The last sequence that the client has seen' }),
    epoch: Type.String({ minLength: 1, maxLength: 64, description: 'The epoch that the sequence is of' })
  }, strict)),
  create_thread: command('create_thread', Type.Object({
    title: Type.Optional(Title), metadata: Type.Optional(Metadata)
  }, strict)),
  get_thread: command('get_thread', Type.Object({ thread_id: ThreadIdText }, strict)),
  update_thread: command('update_thread', Type.Object({
    thread_id: ThreadIdText, title: Type.Optional(Title), metadata: Type.Optional(Metadata)
  }, strict)),
  archive_thread: command('archive_thread', Type.Object({ thread_id: ThreadIdText }, strict)),
  restore_thread: command('restore_thread', Type.Object({ thread_id: ThreadIdText }, strict)),
  fork_thread: command('fork_thread', Type.Object({
    thread_id: ThreadIdText,
    message_id: Type.Optional(MessageIdText('The last message that the new thread takes over; the newest of the visible branch when absent')),
    title: Type.Optional(Title)
  }, strict)),
  rename_thread: command('rename_thread', Type.Object({ thread_id: ThreadIdText, title: Title }, strict)),
  delete_thread: command('delete_thread', Type.Object({ thread_id: ThreadIdText }, strict)),
  list_threads: command('list_threads', Type.Object({
    state: Type.Optional(ListedState),
    cursor: Type.Optional(Cursor),
    limit: Limit,
    offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'Counted from the cursor, where there is one' }))
  }, strict)),
  search_threads: command('search_threads', Type.Object({
    query: Type.String({ minLength: 1, maxLength: 200, pattern: '\\S', description: 'As people write it for a search engine' }),
    cursor: Type.Optional(Cursor),
    limit: Limit
  }, strict)),
  switch_thread: command('switch_thread', Type.Object({ thread_id: ThreadIdText }, strict)),
  get_thread_history: command('get_thread_history', Type.Object({
    before: Type.Optional(Type.String({ pattern: uuidPattern, description: 'Only messages older than this message id' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200 }))
  }, strict)),
  authenticate: command('authenticate', Type.Object({
    token: Type.String({ minLength: 1, maxLength: 16_384, description: 'A fresh token of the same user, before the old one expires' })
  }, strict)),
  typing: command('typing', Type.Object({ is_typing: Type.Optional(Type.Boolean()) }, strict)),
  ping: command('ping', nothing)
} as const

export type CommandType = keyof typeof commandSchemas
export type CommandOf<Name extends CommandType> = Static<(typeof commandSchemas)[Name]>
export type Command = { [Name in CommandType]: CommandOf<Name> }[CommandType]

export const commandTypes = Object.keys(commandSchemas) as readonly CommandType[] // keys of a const object

export function isCommandType (value: unknown): value is CommandType {
  return typeof value === 'string' && Object.hasOwn(commandSchemas, value)
}
