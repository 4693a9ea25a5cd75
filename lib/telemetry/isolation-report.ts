import { attributes } from '../context/attributes.ts'
import type { RunId, ThreadId, UserId } from '../protocol/ids.ts'
import type {
  DatabaseProtection, IsolationDelivery, IsolationFinding, IsolationSpan, RunIsolation
} from '../protocol/run-isolation.ts'
import { Aliases } from './aliases.ts'
import { toIsolationSpan } from './isolation-spans.ts'
import type { Delivery } from './run-deliveries.ts'
import type { Evidence, RunEvidence, SeenTrace } from './run-evidence.ts'

export interface ReportedRun {
  readonly runId: RunId
  readonly threadId: ThreadId
  readonly userId: UserId
  readonly createdAt: string
}

/** What a verifier says of the spans of one trace. */
export interface Judgement { readonly findings: readonly IsolationFinding[], readonly incomplete: readonly string[] }

export interface IsolationReportOptions {
  readonly evidence: RunEvidence
  readonly judge: (spans: readonly IsolationSpan[]) => Judgement
  /** Of the database, as it stands for the active user. */
  readonly protection: () => Promise<DatabaseProtection>
  /** Where other nodes may have accepted the run, executed it, or told it to connections of theirs. */
  readonly otherNodes?: {
    /** How many connections they have in a thread of the active user, as far as this node knows. */
    readonly connectionsIn: (threadId: ThreadId) => number
  } | undefined
}

/** Reports on a run of the active user, from what this process has seen of it. What it has not seen, it says; other nodes are not asked. */
export type IsolationReports = (run: ReportedRun) => Promise<RunIsolation>

/** They say that something is not there, which proves nothing where not everything is there to be seen. */
const rulesOfAbsence: readonly string[] = ['CTX001', 'CTX006', 'CTX008']

export function createIsolationReports ({ evidence, judge, protection, otherNodes }: IsolationReportOptions): IsolationReports {
  return async (run) => {
    const database = await protection()
    const found = evidence.find(run.runId)
    const aliases = new Aliases(run.userId, [run.threadId, run.runId])
    const judged = (found?.traces ?? []).map((trace) => judgeTrace(trace, aliases, judge, otherNodes !== undefined))
    const spans = judged.flatMap((one) => one.spans)
    const deliveries = found?.deliveries ?? []
    const ofSpans = judged.flatMap((one) => one.findings)
    const findings = [
      ...ofSpans,
      ...ofSpans.some(({ rule }) => rule === 'CTX007') ? [] : findingsOfDeliveries(deliveries, run, aliases),
      ...findingsOfDatabase(database, run)
    ]
    const incomplete = [...whyIncomplete(found, run, evidence), ...unseenDeliveries(otherNodes?.connectionsIn(run.threadId)), ...judged.flatMap((one) => one.incomplete)]
    const told = deliveries.map((delivery) => toDelivery(delivery, aliases))
    const violations = found?.violations ?? []
    return {
      run_id: run.runId,
      thread_id: run.threadId,
      user_id: run.userId,
      verdict: findings.length + violations.length > 0 ? 'findings' : incomplete.length > 0 ? 'incomplete' : 'clean',
      findings,
      incomplete,
      hops: spans.filter(({ attributes: said }) => said[attributes.hop] !== undefined).map(toHop),
      identities: identitiesOf(spans, told),
      deliveries: told,
      violations: [...violations],
      database,
      spans
    }
  }
}

function judgeTrace (
  trace: SeenTrace, aliases: Aliases, judge: IsolationReportOptions['judge'], hasPeers: boolean
): Judgement & { readonly spans: readonly IsolationSpan[] } {
  const spans = trace.spans.map((span) => toIsolationSpan(span, aliases))
  const { findings, incomplete } = judge(spans)
  const reasons = [
    ...trace.fromItsBeginning ? [] : [`The beginning of trace ${trace.traceId} was not seen by this process`],
    ...trace.dropped === 0 ? [] : [`${trace.dropped} spans of trace ${trace.traceId} were too many to be kept`]
  ]
  const proven = findings.filter(({ rule }) => !rulesOfAbsence.includes(rule))
  if (reasons.length > 0 || !hasPeers) return { spans, findings: reasons.length > 0 ? proven : findings, incomplete: [...reasons, ...incomplete] }
  const missed = [...new Set(findings.filter((finding) => !proven.includes(finding)).map(({ rule }) => rule))]
  const elsewhere = missed.length === 0 ? [] : [`What ${missed.join(', ')} ${missed.length === 1 ? 'misses' : 'miss'} in trace ${trace.traceId} may have happened on another node`]
  return { spans, findings: proven, incomplete: [...elsewhere, ...incomplete] }
}

/** Each node knows of its own connections what they were told. */
function unseenDeliveries (connections = 0): readonly string[] {
  return connections === 0 ? [] : [`Other nodes have ${connections} connections in the thread: what these were told was not seen`]
}

function whyIncomplete (found: Evidence | undefined, { createdAt }: ReportedRun, { since, dropped }: RunEvidence): readonly string[] {
  const reasons: string[] = []
  if (createdAt < since) reasons.push('The process was started after the run was accepted: what happened before was not seen')
  else if (found === undefined && dropped > 0) reasons.push('What was seen of the run had to make room for later ones')
  if (found === undefined && reasons.length === 0) reasons.push('This process has seen nothing of the run')
  if (found !== undefined && found.traces.length === 0) reasons.push('No span was seen: telemetry, or its check, is switched off')
  if (found !== undefined && found.deliveriesDropped > 0) reasons.push(`${found.deliveriesDropped} deliveries were too many to be kept`)
  return reasons
}

/** Text of the answer has no span: whom it went to is only known from what was written. */
function findingsOfDeliveries (deliveries: readonly Delivery[], { userId }: ReportedRun, aliases: Aliases): readonly IsolationFinding[] {
  return deliveries.flatMap((delivery) => {
    const { connectionId, threadId, eventThreadId, sequences } = delivery
    const crossedUser = delivery.userId !== userId
    const crossedThread = sequences.length > 0 && threadId !== eventThreadId
    if (!crossedUser && !crossedThread) return []
    const connection = crossedUser ? aliases.of('connection', connectionId) : connectionId
    const whose = crossedUser ? `of ${aliases.user(delivery.userId)}` : `in ${threadId === undefined ? 'no thread' : `thread ${threadId}`}`
    return [{
      rule: 'CTX007', hop: 'socket.send', trace_id: null, span_id: null, message: `Events of the run were written to connection ${connection} ${whose}`
    }]
  })
}

function findingsOfDatabase (database: DatabaseProtection, { userId }: ReportedRun): readonly IsolationFinding[] {
  const problems = [
    ...database.user_id === userId ? [] : ['The database does not take the reader for the run\'s user'],
    ...database.row_security === 'forced' ? [] : [`Row-level security is ${database.row_security === 'off' ? 'off' : 'not forced'}`],
    ...database.bypasses_row_security ? [`The role ${database.role} bypasses row-level security`] : []
  ]
  return problems.map((message) => ({ rule: 'database', hop: null, trace_id: null, span_id: null, message }))
}

function toDelivery ({ connectionId, userId, threadId, replayed, sequences, unsequenced }: Delivery, aliases: Aliases): IsolationDelivery {
  const own = aliases.isOwner(userId)
  return {
    connection_id: own ? connectionId : aliases.of('connection', connectionId),
    user_id: aliases.user(userId),
    thread_id: threadId === undefined ? null : own ? threadId : aliases.of('thread', threadId),
    replayed,
    sequences: sequences.map(([first, last]) => [first, last]),
    unsequenced
  }
}

function toHop (span: IsolationSpan): RunIsolation['hops'][number] {
  return { hop: String(span.attributes[attributes.hop]), trace_id: span.trace_id, span_id: span.span_id, ...identityOf(span) }
}

function identityOf ({ attributes: said }: IsolationSpan): RunIsolation['identities'][number] {
  const text = (name: string): string | null => typeof said[name] === 'string' ? said[name] : null
  return { user_id: text(attributes.userId), thread_id: text(attributes.threadId), run_id: text(attributes.runId) }
}

function identitiesOf (spans: readonly IsolationSpan[], deliveries: readonly IsolationDelivery[]): RunIsolation['identities'] {
  const seen = new Map<string, RunIsolation['identities'][number]>()
  for (const identity of [
    ...spans.map(identityOf), ...deliveries.map(({ user_id: userId, thread_id: threadId }) => ({ user_id: userId, thread_id: threadId, run_id: null }))
  ]) {
    if (identity.user_id !== null) seen.set(JSON.stringify([identity.user_id, identity.thread_id, identity.run_id]), identity)
  }
  return [...seen.values()]
}
