import type { Profile } from './profile.ts'
import type { Finding, SeenHop, TraceReport, Verdict } from './report.ts'
import { hopMissing } from './rules/ctx001-hop-missing.ts'
import { identityMissing } from './rules/ctx002-identity-missing.ts'
import { threadChanged } from './rules/ctx003-thread-changed.ts'
import { userChanged } from './rules/ctx004-user-changed.ts'
import { runChanged } from './rules/ctx005-run-changed.ts'
import { orphanSpan } from './rules/ctx006-orphan-span.ts'
import { wrongRecipient } from './rules/ctx007-wrong-recipient.ts'
import { terminalEvent } from './rules/ctx008-terminal-event.ts'
import { foreignBaggage } from './rules/ctx009-foreign-baggage.ts'
import { twoUsers } from './rules/ctx010-two-users.ts'
import type { Rule, RuleId } from './rules/rule.ts'
import { isOpen, runsOf } from './rules/runs.ts'
import { readSpan, type SeenSpan } from './seen-span.ts'
import type { Span } from './span.ts'
import { threadlineProfile } from './threadline-profile.ts'
import { indexTrace, type Node, type TraceIndex } from './trace-index.ts'
import { uniteDuplicates } from './unite-duplicates.ts'

export interface VerifyOptions {
  /** Threadline's own by default. */
  readonly profile?: Profile
  /** In ms since 1970; the clock's by default. */
  readonly nowMs?: number
  /** How long a trace has to be silent before what is not there counts as missing; 10 s by default. */
  readonly lateMs?: number
  /** The same while a run in it has not told its end; 10 min by default. */
  readonly openRunMs?: number
}

const rules: Readonly<Record<RuleId, Rule>> = {
  CTX001: hopMissing,
  CTX002: identityMissing,
  CTX003: threadChanged,
  CTX004: userChanged,
  CTX005: runChanged,
  CTX006: orphanSpan,
  CTX007: wrongRecipient,
  CTX008: terminalEvent,
  CTX009: foreignBaggage,
  CTX010: twoUsers
}

/** What is checked of a trace in which no message goes its way: what needs no hop to be wrong. */
const withoutHops: readonly RuleId[] = ['CTX004', 'CTX006', 'CTX007', 'CTX009', 'CTX010']

/**
 * Verifies the spans of one trace, in any order. Pure; it never throws, whatever the spans hold. A trace is settled when all of its spans have
 * ended and nothing has been heard of it for long enough; before that, what is missing is a reason in `incomplete`. What is crossed is a
 * finding at once. A trace without a hop of the profile is only checked for orphans, baggage, a second user and wrong
 * recipients.
 */
export function verifyTrace (spans: Iterable<Span>, options: VerifyOptions = {}): TraceReport {
  const { profile = threadlineProfile } = options
  const seen: SeenSpan[] = []
  let unreadable = 0
  for (const span of spans) {
    const read = readSpan(span, profile)
    if (read === undefined) unreadable += 1
    else seen.push(read)
  }
  const report = verifySeen(seen[0]?.traceId ?? '', seen, options)
  return unreadable === 0 ? report : withReasons(report, [`${unreadable} spans have no usable ids or no time`])
}

/** The same for spans that have been read by the profile. */
export function verifySeen (traceId: string, seen: readonly SeenSpan[], options: VerifyOptions = {}): TraceReport {
  const { profile = threadlineProfile } = options
  const { spans, contradictions, strangers } = uniteDuplicates(traceId, seen)
  const trace = indexTrace(traceId, spans, profile)
  const unsettled = whyUnsettled(trace, profile, options)
  const findings: Finding[] = []
  const incomplete = [...contradictions]
  if (strangers > 0) incomplete.push(`${strangers} spans belong to other traces`)
  if (spans.length === 0) incomplete.push('The trace has no span')
  incomplete.push(...noticedBy(trace))
  const late = isLateDelivery(trace) ? 'Only deliveries of a run are here, and not the run itself' : undefined
  if (late !== undefined) incomplete.push(late)
  let awaited = 0
  for (const [rule, judgements] of applyRules(trace, profile)) {
    for (const { awaited: isAwaited = false, ...judgement } of judgements) {
      if (isAwaited && late !== undefined) continue
      if (isAwaited && unsettled !== undefined) {
        awaited += 1
        incomplete.push(`${judgement.message}, yet: ${unsettled}`)
      } else findings.push({ rule, ...judgement })
    }
  }
  if (awaited === 0 && unsettled !== undefined) incomplete.push(`More may come: ${unsettled}`)
  return { traceId, verdict: verdictOf(findings, incomplete), spans: spans.length, hops: trace.hops.map(seenHop), findings, incomplete }
}

export function withReasons (report: TraceReport, reasons: readonly string[]): TraceReport {
  const incomplete = [...report.incomplete, ...reasons]
  return { ...report, incomplete, verdict: verdictOf(report.findings, incomplete) }
}

function applyRules (trace: TraceIndex, profile: Profile) {
  const ids = trace.hops.length > 0 ? Object.keys(rules) as RuleId[] : withoutHops // the table's own keys
  return ids.map((id) => [id, rules[id](trace, profile)] as const)
}

export function verdictOf (findings: readonly unknown[], incomplete: readonly unknown[]): Verdict {
  if (findings.length > 0) return 'findings'
  return incomplete.length > 0 ? 'incomplete' : 'clean'
}

/** What the service itself has noticed. It is no finding, because spans do not show what was touched; and no trace with it is clean. */
function noticedBy ({ nodes }: TraceIndex): readonly string[] {
  return nodes.flatMap(({ span, hop }) => {
    return span.violation === undefined ? [] : [`The service has noticed an identity that was ${span.violation}, at ${hop?.name ?? span.name} (span ${span.spanId})`]
  })
}

/** Why more of the trace may come; undefined when it is settled. */
function whyUnsettled (trace: TraceIndex, profile: Profile, options: VerifyOptions): string | undefined {
  const { nowMs = Date.now(), lateMs = 10_000, openRunMs = 600_000 } = options
  const open = trace.nodes.find(({ span }) => span.endedAt === undefined)
  if (open !== undefined) return `${open.span.name} has not ended`
  const lastMs = trace.nodes.reduce((last, { span }) => Math.max(last, span.startedAt, span.endedAt ?? 0), 0) / 1000
  const silentMs = nowMs - lastMs
  if (silentMs < lateMs) return 'the trace was heard of just now'
  const { terminal } = profile
  const run = silentMs < openRunMs && terminal !== undefined ? runsOf(trace, terminal).find(isOpen) : undefined
  return run === undefined ? undefined : `run ${run.run} is going on`
}

/** Whoever comes back is told what was missed in the trace of the run that told it, long after whoever kept that trace may have let it go. */
function isLateDelivery ({ nodes }: TraceIndex): boolean {
  return nodes.length > 0 && nodes.every(({ broken, span }) => broken === 'orphan' && span.sequence !== undefined && span.recipientUser !== undefined)
}

function seenHop ({ span, hop }: Node): SeenHop {
  const { spanId, parentSpanId, name, service, startedAt, endedAt, user, thread, run, request, connection, recipientUser, recipientThread } = span
  const recipient = recipientUser === undefined && recipientThread === undefined ? undefined : { userId: recipientUser, threadId: recipientThread }
  return {
    hop: hop?.name ?? '',
    spanId,
    parentSpanId,
    name,
    service,
    startedAt,
    endedAt,
    identity: { userId: user, threadId: thread, runId: run, requestId: request },
    connectionId: connection,
    recipient,
    eventType: span.eventType,
    sequence: span.sequence
  }
}
