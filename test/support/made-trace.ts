import { createHash } from 'node:crypto'
import type { AttributeValue, Span, SpanKind } from '../../verify/span.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'

const { attributes: names } = threadlineProfile

export interface MadeTrace {
  /** Two traces of different seeds have no id in common. */
  readonly seed?: string
  readonly user?: string
  readonly thread?: string
  /** How many tools the run calls; each adds seven spans. One by default. */
  readonly tools?: number
  /** In µs since 1970. */
  readonly startedAt?: number
  readonly overHttp?: boolean
}

/** 1 January 2026, in µs. */
export const longAgo = Date.UTC(2026, 0, 1) * 1000

/** Any time long after made traces have fallen silent, in ms. */
export const muchLater = Date.UTC(2026, 1, 1)

/** The spans of one message, as the service makes them: 20 with one tool, in the order of its way. */
export function makeTrace (options: MadeTrace = {}): readonly Span[] {
  const { seed = 'one', user = 'alice', thread = 'thread-a', tools = 1, startedAt = longAgo, overHttp = false } = options
  const made: Span[] = []
  const traceId = digits(`trace ${seed}`, 32)
  const run = `run-${seed}`
  const request = `request-${seed}`
  const connection = `connection-${seed}`
  let sequence = 0

  function add (name: string, parent: Span | undefined, kind: SpanKind, attributes: Readonly<Record<string, AttributeValue>>): Span {
    const at = startedAt + made.length * 1000
    const span: Span = {
      traceId,
      spanId: digits(`span ${seed} ${made.length}`, 16),
      parentSpanId: parent?.spanId,
      name,
      kind,
      startedAt: at,
      endedAt: at + 100_000,
      failed: false,
      attributes: { [names.user]: user, [names.thread]: thread, [names.run]: run, [names.request]: request, [names.connection]: connection, ...attributes },
      links: [],
      service: 'threadline'
    }
    made.push(span)
    return span
  }
  const hop = (hopName: string, parent: Span | undefined, attributes: Readonly<Record<string, AttributeValue>> = {}, name = hopName): Span =>
    add(name, parent, hopName === 'socket.receive' ? 'server' : 'internal', { [names.hop]: hopName, ...attributes })
  const send = (parent: Span, eventType: string, place?: number): Span => hop('socket.send', parent, {
    [names.recipientUser]: user,
    [names.recipientThread]: thread,
    [names.eventType]: eventType,
    ...(place === undefined ? {} : { [names.sequence]: place })
  })
  function tell (parent: Span, eventType: string): void {
    sequence += 1
    send(hop('emitter', parent, { [names.eventType]: eventType, [names.sequence]: sequence }), eventType, sequence)
  }

  const root = overHttp ? add('POST /v1/threads/:thread_id/runs', undefined, 'server', {}) : hop('socket.receive', undefined)
  const handler = hop('handler', root)
  send(handler, 'message_accepted')
  hop('registry', handler)
  const engine = hop('engine', handler, {}, 'invoke_agent assistant')
  tell(engine, 'agent_started')
  tell(engine, 'agent_thinking')
  for (let call = 0; call < tools; call += 1) {
    add('chat local', engine, 'client', {})
    tell(engine, 'tool_executing')
    const tool = hop('tool', engine, { [names.request]: `${request}-${call}` }, 'execute_tool search')
    add('GET', tool, 'client', { [names.host]: 'search.example.com', [names.port]: 443 })
    tell(engine, 'tool_completed')
  }
  add('POST', add('chat local', engine, 'client', {}), 'client', { [names.host]: 'model.example.com', [names.port]: 443 })
  tell(handler, 'agent_completed')
  return made
}

/** The same spans, with one of them changed. */
export function withSpan (spans: readonly Span[], changed: Span, changes: Partial<Span>): readonly Span[] {
  return spans.map((span) => span === changed ? { ...span, ...changes } : span)
}

/** The same spans, with attributes of one of them changed; undefined takes one away. */
export function withAttributes (spans: readonly Span[], changed: Span, changes: Readonly<Record<string, AttributeValue | undefined>>): readonly Span[] {
  const entries = Object.entries({ ...changed.attributes, ...changes })
  const attributes = Object.fromEntries(entries.flatMap(([name, value]) => value === undefined ? [] : [[name, value]]))
  return withSpan(spans, changed, { attributes })
}

/** The nth span of a name or of a hop. Throws when there is none. */
export function spanNamed (spans: readonly Span[], name: string, index = 0): Span {
  const found = spans.filter((span) => span.name === name || span.attributes[names.hop] === name)[index]
  if (found === undefined) throw new Error(`No span ${name}`)
  return found
}

function digits (text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length)
}
