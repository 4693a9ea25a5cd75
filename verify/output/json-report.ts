import { Type, type Static } from 'typebox'
import { ruleIds } from '../rules/rule.ts'

const Text = Type.Optional(Type.String())
const Count = Type.Integer({ minimum: 0 })

const Place = Type.Object({ hop: Text, spanId: Type.String(), name: Type.String() })

const JsonFinding = Type.Object({
  rule: Type.Enum([...ruleIds]),
  title: Type.String(),
  help: Type.String({ description: 'Where the rule is told, with an example and a fix.' }),
  traceId: Type.String(),
  spanId: Type.String(),
  spanName: Type.String(),
  hop: Text,
  service: Text,
  message: Type.String(),
  expected: Text,
  actual: Text,
  lastRight: Type.Optional(Place)
})

const JsonHop = Type.Object({
  hop: Type.String(),
  spanId: Type.String(),
  parentSpanId: Text,
  name: Type.String(),
  service: Text,
  startedAt: Type.Number({ description: 'In µs since 1970.' }),
  endedAt: Type.Optional(Type.Number()),
  identity: Type.Object({ userId: Text, threadId: Text, runId: Text, requestId: Text }),
  connectionId: Text,
  recipient: Type.Optional(Type.Object({ userId: Text, threadId: Text })),
  eventType: Text,
  sequence: Type.Optional(Type.Number())
})

const Verdict = Type.Enum(['clean', 'findings', 'incomplete'])

const JsonTrace = Type.Object({ traceId: Type.String(), verdict: Verdict, spans: Count, hops: Type.Array(JsonHop), incomplete: Type.Array(Type.String()) })

/** What `--format json` writes. A version keeps its fields and their meaning; further ones may come. */
export const JsonReport = Type.Object({
  version: Type.Literal(1),
  traces: Type.Array(JsonTrace, { description: 'Those with findings; all of them with --verbose.' }),
  verdict: Verdict,
  exitCode: Type.Integer(),
  spans: Count,
  counts: Type.Object({ checked: Count, clean: Count, withFindings: Count, incomplete: Count, findings: Count }),
  findings: Type.Array(JsonFinding),
  moreFindings: Type.Integer({ minimum: 0, description: 'How many are not in the list.' }),
  incomplete: Type.Array(Type.String(), { description: 'What could not be read or checked, a sentence each.' }),
  notes: Type.Array(Type.String())
})
export type JsonReport = Static<typeof JsonReport>
