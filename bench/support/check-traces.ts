import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { attributes } from '../../lib/context/attributes.ts'
import { hops } from '../../lib/context/hop.ts'
import type { Findings } from './findings.ts'
import type { ChatRecord } from './soak-clients.ts'

type Trace = readonly ReadableSpan[]

/**
 * Every span of every trace. A trace is one user's, and at most one thread's and one run's. The trace of a message has all seven
 * hops, one root, and on each span the user, thread and run of one chat; what it sends goes to that chat's socket.
 */
export function checkTraces (traces: Iterable<Trace>, chats: readonly ChatRecord[], findings: Findings): void {
  const all = [...traces]
  const byRun = new Map(chats.map((chat) => [chat.runId ?? '', chat]))
  const ofMessages = all.filter((trace) => trace.some((span) => span.attributes[attributes.command] === 'user_message'))
  const runs = new Set(ofMessages.map((trace) => valuesOf(trace, attributes.runId).join()))

  findings.count('traces of messages', chats.length, ofMessages.length)
  findings.count('runs in traces of messages', chats.length, chats.filter(({ runId = '' }) => runs.has(runId)).length)
  findings.none('messages without all seven hops', ofMessages, complainOfHops)
  findings.none('messages whose spans are not all theirs', ofMessages, (trace) => complainOfMessage(trace, byRun))
  findings.none('traces with two identities, or spans without one', all, complainOfIdentity)
  findings.none('orphan spans', all.flatMap(orphansOf), (span) => `${span.name} has no parent in its trace ${span.spanContext().traceId}`)
  findings.none('traces of messages without one root', ofMessages, (trace) => {
    const roots = trace.filter((span) => span.parentSpanContext === undefined)
    return roots.length === 1 ? undefined : `${roots.length} roots in ${name(trace)}`
  })
}

function complainOfHops (trace: Trace): string | undefined {
  const present = valuesOf(trace, attributes.hop)
  const missing = hops.filter((hop) => !present.includes(hop))
  return missing.length === 0 ? undefined : `${missing.join(', ')} missing in ${name(trace)}`
}

function complainOfMessage (trace: Trace, byRun: ReadonlyMap<string, ChatRecord>): string | undefined {
  const chat = byRun.get(valuesOf(trace, attributes.runId).join())
  if (chat === undefined) return `${name(trace)} is of no run, or of several`
  const foreign = trace.find((span) => span.attributes[attributes.userId] !== chat.user ||
    span.attributes[attributes.threadId] !== chat.threadId || span.attributes[attributes.runId] !== chat.runId)
  if (foreign !== undefined) return `${foreign.name} is not of ${chat.user}, thread ${chat.threadId}, in ${name(trace)}`
  const sockets = valuesOf(trace.filter((span) => span.attributes[attributes.hop] === 'socket.send'), attributes.connectionId)
  return sockets.join() === chat.connectionId ? undefined : `${name(trace)} was sent to ${sockets.join()} instead of ${chat.connectionId}`
}

function complainOfIdentity (trace: Trace): string | undefined {
  if (trace.some((span) => span.attributes[attributes.userId] === undefined)) return `a span without a user in ${name(trace)}`
  const ids = [attributes.userId, attributes.threadId, attributes.runId]
  const doubled = ids.filter((id) => valuesOf(trace, id).length > 1)
  return doubled.length === 0 ? undefined : `several ${doubled.join(', ')} in ${name(trace)}`
}

function orphansOf (trace: Trace): Trace {
  const present = new Set(trace.map((span) => span.spanContext().spanId))
  return trace.filter(({ parentSpanContext: parent }) => parent !== undefined && !present.has(parent.spanId))
}

/** The different values of an attribute in a trace. */
function valuesOf (trace: Trace, attribute: string): readonly string[] {
  return [...new Set(trace.map((span) => span.attributes[attribute]?.toString()).filter((value) => value !== undefined))]
}

function name (trace: Trace): string {
  return `trace ${trace[0]?.spanContext().traceId} (${[...new Set(trace.map((span) => span.name))].join(', ')})`
}
