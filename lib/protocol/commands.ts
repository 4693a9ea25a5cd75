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

/** What to do when the thread already has an active run. */
export const MultitaskStrategy = Type.Union([
  Type.Literal('reject'), Type.Literal('enqueue'), Type.Literal('interrupt')
], { description: 'reject: refuse · enqueue: wait (default) · interrupt: cancel the active run first' })
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
    agent: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    multitask_strategy: Type.Optional(MultitaskStrategy),
    metadata: Type.Optional(Metadata)
  }, strict)),
  start_agent: command('start_agent', Type.Object({
    agent: Type.String({ minLength: 1, maxLength: 64 }),
    input: Type.String({ minLength: 1, maxLength: maxContentCharacters, pattern: '\\S' }),
    context: Type.Optional(Metadata)
  }, strict)),
  stop_agent: command('stop_agent', Type.Object({
    run_id: Type.Optional(Type.String({ pattern: runIdPattern }))
  }, strict)),
  create_thread: command('create_thread', Type.Object({ title: Type.Optional(Title) }, strict)),
  rename_thread: command('rename_thread', Type.Object({ thread_id: ThreadIdText, title: Title }, strict)),
  delete_thread: command('delete_thread', Type.Object({ thread_id: ThreadIdText }, strict)),
  list_threads: command('list_threads', Type.Object({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 }))
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
