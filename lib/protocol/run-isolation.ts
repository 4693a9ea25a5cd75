import { Type, type Static } from 'typebox'
import { runIdPattern, uuidPattern } from './ids.ts'

const Nullable = Type.Union([Type.String(), Type.Null()])
const TraceId = Type.String({ pattern: '^[0-9a-f]{32}$' })
const SpanId = Type.String({ pattern: '^[0-9a-f]{16}$' })

const Verdict = Type.Union([Type.Literal('clean'), Type.Literal('findings'), Type.Literal('incomplete')], {
  description: '`incomplete`: nothing wrong was seen, but not everything was there to be seen'
})

/** A span with what a verifier reads of it, so that whoever gets it can judge for itself. */
export const IsolationSpan = Type.Object({
  trace_id: TraceId,
  span_id: SpanId,
  parent_span_id: Type.Union([SpanId, Type.Null()]),
  name: Type.String(),
  kind: Type.Union([
    Type.Literal('internal'), Type.Literal('server'), Type.Literal('client'), Type.Literal('producer'), Type.Literal('consumer')
  ]),
  started_at: Type.Number({ description: 'In µs since 1970' }),
  ended_at: Type.Union([Type.Number(), Type.Null()], { description: 'In µs since 1970; null while it is open' }),
  failed: Type.Boolean(),
  attributes: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()]))
})
export type IsolationSpan = Static<typeof IsolationSpan>

const Hop = Type.Object({
  hop: Type.String(),
  trace_id: TraceId,
  span_id: SpanId,
  user_id: Nullable,
  thread_id: Nullable,
  run_id: Nullable
})

const Finding = Type.Object({
  rule: Type.String({ description: 'A rule of the verifier (`CTX001` …), or `database`' }),
  hop: Nullable,
  message: Type.String(),
  trace_id: Type.Union([TraceId, Type.Null()]),
  span_id: Type.Union([SpanId, Type.Null()])
})
export type IsolationFinding = Static<typeof Finding>

const Delivery = Type.Object({
  connection_id: Type.String(),
  user_id: Type.String({ description: 'Whose the connection is' }),
  thread_id: Type.Union([Type.String(), Type.Null()], { description: 'The thread that it was in' }),
  replayed: Type.Boolean(),
  sequences: Type.Array(Type.Array(Type.Integer(), { minItems: 2, maxItems: 2 }), { description: 'First and last of each range' }),
  unsequenced: Type.Integer({ minimum: 0, description: 'Answers and notices' })
})
export type IsolationDelivery = Static<typeof Delivery>

export const DatabaseProtection = Type.Object({
  role: Type.String({ description: 'The role in which the user\'s rows are read' }),
  user_id: Type.Union([Type.String(), Type.Null()], { description: 'For whom the database takes the reader' }),
  row_security: Type.Union([Type.Literal('forced'), Type.Literal('enabled'), Type.Literal('off')], { description: 'Of all tables together: the weakest' }),
  bypasses_row_security: Type.Boolean()
})
export type DatabaseProtection = Static<typeof DatabaseProtection>

/**
 * What one process saw of a run. Ids of another user are told as `another-user-1` and so on: who that is, is none of the reader's
 * business.
 */
export const RunIsolation = Type.Object({
  run_id: Type.String({ pattern: runIdPattern }),
  thread_id: Type.String({ pattern: uuidPattern }),
  user_id: Type.String(),
  verdict: Verdict,
  findings: Type.Array(Finding),
  incomplete: Type.Array(Type.String(), { description: 'What could not be seen, a sentence each' }),
  hops: Type.Array(Hop, { description: 'In the order of their start' }),
  identities: Type.Array(Type.Object({ user_id: Nullable, thread_id: Nullable, run_id: Nullable }), {
    description: 'Every identity that a span or a connection had, each once'
  }),
  deliveries: Type.Array(Delivery),
  violations: Type.Array(Type.Object({ place: Type.String(), kind: Type.String(), witness: Type.String(), at: Type.String({ format: 'date-time' }) })),
  database: DatabaseProtection,
  spans: Type.Array(IsolationSpan)
})
export type RunIsolation = Static<typeof RunIsolation>
