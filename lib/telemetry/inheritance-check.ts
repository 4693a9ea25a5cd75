import { trace, type Attributes, type Context, type Span as ApiSpan } from '@opentelemetry/api'
import type { ReadableSpan, Span, SpanProcessor } from '@opentelemetry/sdk-trace'
import { attributes } from '../context/attributes.ts'
import { identityOf } from '../context/current-thread.ts'
import { tellViolation, type GuardedPlace, type Owner, type Violation } from '../context/guard.ts'
import { hops, type Hop } from '../context/hop.ts'
import type { Identity } from '../context/identity.ts'
import { endedSpans, startedSpans } from './span-channels.ts'

const { userId: userKey, threadId: threadKey, runId: runKey, hop: hopKey, violation: violationKey } = attributes

export interface InheritanceCheckOptions {
  /** Traces of which is remembered whose they are, for what continues them by a carrier. The oldest are forgotten first. */
  readonly maxTraces?: number
}

/**
 * Looks at each span as it starts, sampled or not, whether the identity came along: from the active context, from the span above it, and,
 * below a carrier, from what was first seen in its trace. Users, threads and runs may become known on the way, and never change or get
 * lost. A violation is told as the guard tells its own: on the channel, by the counter, and by `threadline.violation` on the span, for which
 * a collector keeps the trace. It watches and refuses nothing, never throws, and tells `startedSpans` and `endedSpans` of each span.
 *
 * A span that starts without identity attributes, as those of foreign instrumentations do, has kept the identity when its context has. What
 * is set later, as on the span of an HTTP request, is seen by what starts below it.
 */
export function createInheritanceCheck ({ maxTraces = 8_192 }: InheritanceCheckOptions = {}): SpanProcessor {
  const known = new KnownTraces(maxTraces)
  return {
    onStart (span, context) {
      try {
        // A span that is born with a violation tells of one, at its place: to tell of it as well would never end.
        const violation = span.attributes[violationKey] === undefined ? check(span, context, known) : undefined
        if (violation !== undefined) {
          span.setAttribute(violationKey, violation.kind)
          tellViolation(violation)
        }
        if (startedSpans.hasSubscribers) startedSpans.publish(span)
      } catch {
        // A witness must not hinder what it watches. A subscriber's own error does not come by here: see `harmless`.
      }
    },
    onEnd (span) {
      if (endedSpans.hasSubscribers) endedSpans.publish(span)
    },
    async forceFlush () {},
    async shutdown () {}
  }
}

/**
 * The attributes of the span that first said the most of each trace. They are the span's own, so what is set on it later is in them. In two
 * generations, the older of which is forgotten as a whole: taking the oldest out of a map one by one is slow.
 */
class KnownTraces {
  readonly #limit: number
  #young = new Map<string, Attributes>()
  #old = new Map<string, Attributes>()

  constructor (limit: number) { this.#limit = limit }

  get (traceId: string): Attributes | undefined { return this.#young.get(traceId) ?? this.#old.get(traceId) }

  set (traceId: string, found: Attributes): void {
    this.#young.set(traceId, found)
    if (this.#young.size * 2 < this.#limit) return
    this.#old = this.#young
    this.#young = new Map()
  }
}

function check (span: Span, context: Context, known: KnownTraces): Violation | undefined {
  const own = span.attributes
  const ambient = identityOf(context)
  const above = inheritedBy(span, trace.getSpan(context), known)
  const kind = judge(own, ambient, above)
  if (kind === undefined) return undefined
  // Where the context disagrees with the span, it is the context that is believed.
  const owner = ambient !== undefined && disagrees(own, ambient) ? ambient : ownerOf(above ?? own)
  return { place: placeOf(own, above), witness: 'inheritance', kind, owner, identity: ambient }
}

/** What the span has to agree with: the attributes of the span above it, or what is known of its trace; undefined at the start of a trace. */
function inheritedBy (span: Span, parent: ApiSpan | undefined, known: KnownTraces): Attributes | undefined {
  const own = span.attributes
  const { traceId } = span.spanContext()
  if (span.parentSpanContext === undefined) {
    known.set(traceId, own)
    return undefined
  }
  if (parent !== undefined && hasAttributes(parent)) {
    // Where the run becomes known: deliveries and the run itself continue the trace from here.
    if (own[runKey] !== undefined && parent.attributes[runKey] === undefined) known.set(traceId, own)
    return parent.attributes
  }
  const seen = known.get(traceId)
  if (seen === undefined) known.set(traceId, own)
  return seen
}

function judge (own: Attributes, ambient: Identity | undefined, above: Attributes | undefined): Violation['kind'] | undefined {
  if (own[userKey] === undefined) return judgeUnnamed(own, ambient, above)
  if (disagrees(own, ambient) || differs(above, own[userKey], own[threadKey], own[runKey])) return 'crossed'
  return misses(own, above, threadKey) || misses(own, above, runKey) ? 'lost' : undefined
}

/** A span that says nothing of an identity. A hop always does. */
function judgeUnnamed (own: Attributes, ambient: Identity | undefined, above: Attributes | undefined): Violation['kind'] | undefined {
  if (own[hopKey] !== undefined) return 'lost'
  if (above?.[userKey] === undefined) return undefined
  if (ambient === undefined) return 'lost'
  return disagrees(above, ambient) ? 'crossed' : undefined
}

function disagrees (carried: Attributes, ambient: Identity | undefined): boolean {
  return ambient !== undefined && differs(carried, ambient.userId, ambient.threadId, ambient.runId)
}

/** Whether both know of a user, thread or run, and not of the same. */
function differs (carried: Attributes | undefined, userId: unknown, threadId: unknown, runId: unknown): boolean {
  return carried !== undefined && (unlike(carried[userKey], userId) || unlike(carried[threadKey], threadId) || unlike(carried[runKey], runId))
}

function misses (own: Attributes, above: Attributes | undefined, key: string): boolean {
  return own[key] === undefined && above?.[key] !== undefined
}

function unlike (one: unknown, other: unknown): boolean {
  return one !== other && one !== undefined && other !== undefined
}

function hasAttributes (span: ApiSpan): span is ApiSpan & ReadableSpan {
  return 'attributes' in span
}

/** The span's hop, else the one above it. */
function placeOf (own: Attributes, above: Attributes | undefined): GuardedPlace {
  const hop = own[hopKey] ?? above?.[hopKey]
  return isHop(hop) ? hop : 'span'
}

function isHop (name: unknown): name is Hop {
  return hops.some((hop) => hop === name)
}

function ownerOf (expected: Attributes): Owner {
  // The ids were checked when the identity was made whose attributes these are.
  const { [userKey]: userId, [threadKey]: threadId, [runKey]: runId } = expected
  return { userId, ...(threadId === undefined ? {} : { threadId }), ...(runId === undefined ? {} : { runId }) } as Owner
}
