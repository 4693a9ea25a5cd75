import type { Profile } from '../profile.ts'
import type { Node, TraceIndex } from '../trace-index.ts'
import { judge, nameOf, type Judgement, type Rule } from './rule.ts'

/** CTX001: a hop without the one that comes before it, or without the one that it leads to. */
export const hopMissing: Rule = (trace, profile) => {
  const seen = new SeenHops(trace)
  const ranks = new Map(profile.hops.map(({ name }, rank) => [name, rank]))
  return trace.hops.filter(({ apart }) => !apart).flatMap((node) => [...missingBefore(node, seen, ranks), ...missingAfter(node, seen, profile)])
}

/** Which hops a trace has, and for which runs. */
class SeenHops {
  readonly #hops = new Set<string>()
  readonly #withoutRun = new Set<string>()

  constructor ({ hops }: TraceIndex) {
    for (const { hop, span: { run } } of hops) {
      if (hop === undefined) continue
      this.#hops.add(hop.name)
      this.#hops.add(keyOf(hop.name, run))
      if (run === undefined) this.#withoutRun.add(hop.name)
    }
  }

  /** For the run, or for none; for a hop without a run any will do. */
  has (name: string, run: string | undefined): boolean {
    return run === undefined ? this.#hops.has(name) : this.#withoutRun.has(name) || this.#hops.has(keyOf(name, run))
  }
}

function keyOf (name: string, run: string | undefined): string { return `${name} ${run ?? ''}` }

/** What was before a span whose path is broken is not known: that is told by CTX006. */
function missingBefore (node: Node, seen: SeenHops, ranks: ReadonlyMap<string, number>): readonly Judgement[] {
  const { hop, span: { run }, hopAbove, cutOff } = node
  if (hop === undefined || cutOff || hop.after.length === 0) return []
  if (hop.after.some((name) => hopAbove?.hop?.name === name || seen.has(name, run))) return []
  // Of several that could have been before it, the nearest on the way.
  const [missing] = hop.after.toSorted((one, other) => (ranks.get(other) ?? 0) - (ranks.get(one) ?? 0))
  return [judge(node, {
    message: `${nameOf(node)} comes without ${listOf(hop.after)} before it`,
    hop: missing ?? hop.name,
    expected: listOf(hop.after),
    actual: hopAbove === undefined ? 'nothing above it' : nameOf(hopAbove),
    lastRight: hopAbove,
    awaited: true
  })]
}

function missingAfter (node: Node, seen: SeenHops, { hops }: Profile): readonly Judgement[] {
  const { hop, span: { run, failed, endedAt } } = node
  const [next] = hop?.leadsTo ?? []
  if (hop?.leadsTo === undefined || next === undefined || failed || endedAt === undefined) return []
  if (hop.leadsTo.some((name) => seen.has(name, run) && hops.some((rule) => rule.name === name))) return []
  return [judge(node, {
    message: `${nameOf(node)} has ended, and ${listOf(hop.leadsTo)} did not follow`,
    hop: next,
    expected: listOf(hop.leadsTo),
    actual: 'nothing',
    lastRight: node,
    awaited: true
  })]
}

function listOf (names: readonly string[]): string { return names.join(' or ') }
