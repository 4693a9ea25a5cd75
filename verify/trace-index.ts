import type { HopRule, IdentityPart, Profile } from './profile.ts'
import type { SeenSpan } from './seen-span.ts'

/** A span in its place. */
export interface Node {
  readonly span: SeenSpan
  /** Its place in `nodes`, where a parent is always before its children. */
  readonly position: number
  /** The span above it, if that is in the trace and no descendant of it. */
  readonly parent: Node | undefined
  /** Its own hop, said or implied; undefined when it is none of the profile's. */
  readonly hop: HopRule | undefined
  /** The nearest hop above it. */
  readonly hopAbove: Node | undefined
  /** Whom it is about, as the topmost spans above it say, or itself where none does: what it carries itself may be wrong. */
  readonly path: Readonly<Record<IdentityPart, string | undefined>>
  /** Whether it is, or hangs below, a span that belongs to no message, with no hop between them but those that deliver. */
  readonly apart: boolean
  /** `cycle`: its ancestors lead back to it. `orphan`: its parent is not in the trace. */
  readonly broken: 'orphan' | 'cycle' | undefined
  /** Whether its path to the root of the trace is broken, at itself or above. */
  readonly cutOff: boolean
}

/** The spans of one trace, in the order of the message's way: by time, a parent before its children. */
export interface TraceIndex {
  readonly traceId: string
  readonly nodes: readonly Node[]
  /** Those that are a hop. */
  readonly hops: readonly Node[]
}

interface Placed { readonly span: SeenSpan, readonly parent: SeenSpan | undefined, readonly at: number, readonly depth: number, readonly order: number }

/** Spans of one trace with different ids. Takes time in proportion to their number but for sorting them, however deep they hang. */
export function indexTrace (traceId: string, spans: readonly SeenSpan[], profile: Profile): TraceIndex {
  const byId = new Map(spans.map((span) => [span.spanId, span]))
  const cyclic = findCycles(spans, byId)
  const placed = place(spans, byId, cyclic)
  const rules = new Map(profile.hops.map((rule) => [rule.name, rule]))
  const hasHop = spans.some(({ hop }) => hop !== undefined && rules.has(hop))
  const nodes: Node[] = []
  const nodeOf = new Map<SeenSpan, Node>()
  for (const { span, parent: above } of placed) {
    const parent = above === undefined ? undefined : nodeOf.get(above)
    const hopAbove = parent?.hop === undefined ? parent?.hopAbove : parent
    const isApart = profile.apart.includes(span.name)
    const implied = hasHop && hopAbove === undefined && !isApart && span.hop === undefined ? impliedHop(span, profile) : undefined
    const hop = rules.get(span.hop ?? implied ?? '')
    const broken = parent !== undefined || span.parentSpanId === undefined ? undefined : cyclic.has(span) ? 'cycle' : 'orphan'
    const node: Node = {
      span, position: nodes.length, parent, hop, hopAbove, broken,
      path: pathOf(span, parent),
      apart: isApart || (parent?.apart === true && (hop === undefined || hop.delivers === true)),
      cutOff: broken !== undefined || parent?.cutOff === true
    }
    nodes.push(node)
    nodeOf.set(span, node)
  }
  return { traceId, nodes, hops: nodes.filter(({ hop }) => hop !== undefined) }
}

/** Below a span that stands apart, threads and runs are each span's own. */
function pathOf (span: SeenSpan, parent: Node | undefined): Node['path'] {
  if (parent === undefined) return { user: span.user, thread: span.thread, run: span.run }
  const above = parent.apart ? { user: parent.path.user, thread: undefined, run: undefined } : parent.path
  return { user: above.user ?? span.user, thread: above.thread ?? span.thread, run: above.run ?? span.run }
}

function impliedHop ({ kind }: SeenSpan, { implied }: Profile): string | undefined {
  return implied.find((one) => one.kind === kind)?.hop
}

/** One span of each cycle, the earliest: there the cycle is cut. */
function findCycles (spans: readonly SeenSpan[], byId: ReadonlyMap<string, SeenSpan>): ReadonlySet<SeenSpan> {
  const found = new Set<SeenSpan>()
  const walkOf = new Map<SeenSpan, number>()
  for (const [walk, start] of spans.entries()) {
    let span: SeenSpan | undefined = start
    while (span !== undefined && !walkOf.has(span)) {
      walkOf.set(span, walk)
      span = byId.get(span.parentSpanId ?? '')
    }
    if (span !== undefined && walkOf.get(span) === walk) found.add(earliestOfCycle(span, byId))
  }
  return found
}

function earliestOfCycle (start: SeenSpan, byId: ReadonlyMap<string, SeenSpan>): SeenSpan {
  let earliest = start
  for (let span = byId.get(start.parentSpanId ?? ''); span !== undefined && span !== start; span = byId.get(span.parentSpanId ?? '')) {
    if (span.startedAt < earliest.startedAt) earliest = span
  }
  return earliest
}

/** By time, where no span begins before its parent: the clocks of two machines may differ. */
function place (spans: readonly SeenSpan[], byId: ReadonlyMap<string, SeenSpan>, cyclic: ReadonlySet<SeenSpan>): readonly Placed[] {
  const parentOf = (span: SeenSpan): SeenSpan | undefined => cyclic.has(span) ? undefined : byId.get(span.parentSpanId ?? '')
  const children = Map.groupBy(spans, parentOf)
  const placed: Placed[] = []
  const open: Placed[] = (children.get(undefined) ?? []).map((span) => ({ span, parent: undefined, at: span.startedAt, depth: 0, order: 0 }))
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { span: parent, at, depth } = next
    placed.push(next)
    for (const [order, span] of (children.get(parent) ?? []).entries()) {
      open.push({ span, parent, at: Math.max(span.startedAt, at), depth: depth + 1, order })
    }
  }
  return placed.sort((one, other) => one.at - other.at || one.depth - other.depth || one.order - other.order)
}
