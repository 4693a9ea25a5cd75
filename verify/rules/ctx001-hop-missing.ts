import type { Node, TraceIndex } from '../trace-index.ts'
import { judge, nameOf, type Judgement, type Rule } from './rule.ts'

/**
 * CTX001: a hop without the one that comes before it, or without the one that it leads to. Where a span's parent is missing, that may be
 * the hop, and CTX006 tells it.
 */
export const hopMissing: Rule = (trace, profile) => {
  const seen = new SeenHops(trace)
  const order = profile.hops.map(({ name }) => name)
  const isBroken = trace.nodes.some(({ broken }) => broken === 'orphan')
  return trace.hops.filter(({ apart }) => !apart).flatMap((node) => [
    ...node.cutOff ? [] : missingBefore(node, seen, order),
    ...isBroken ? [] : missingAfter(node, seen)
  ])
}

/** Which hops a trace has, and for which runs. */
class SeenHops {
  readonly #hops = new Set<string>()

  constructor ({ hops }: TraceIndex) {
    for (const { hop, path: { run } } of hops) {
      if (hop === undefined) continue
      this.#hops.add(hop.name)
      this.#hops.add(keyOf(hop.name, run))
    }
  }

  /** For the same run, or for none; for a node without a run any will do. */
  has (name: string, { path: { run } }: Node): boolean {
    return run === undefined ? this.#hops.has(name) : this.#hops.has(keyOf(name, run)) || this.#hops.has(keyOf(name, undefined))
  }
}

function keyOf (name: string, run: string | undefined): string { return `${name}\n${run ?? ''}` }

function missingBefore (node: Node, seen: SeenHops, order: readonly string[]): readonly Judgement[] {
  const { hop, hopAbove } = node
  if (hop === undefined || hop.after.length === 0 || hop.after.some((name) => seen.has(name, node))) return []
  // Of several that could have been before it, the nearest on the way.
  const nearest = order.findLast((name) => hop.after.includes(name)) ?? hop.name
  return [judge(node, {
    message: `${nameOf(node)} comes without ${listOf(hop.after)} before it`,
    hop: nearest,
    expected: listOf(hop.after),
    actual: hopAbove === undefined ? 'nothing above it' : nameOf(hopAbove),
    lastRight: hopAbove,
    awaited: true
  })]
}

function missingAfter (node: Node, seen: SeenHops): readonly Judgement[] {
  const { hop, span: { failed, endedAt } } = node
  const [next] = hop?.leadsTo ?? []
  if (hop?.leadsTo === undefined || next === undefined || failed || endedAt === undefined) return []
  if (hop.leadsTo.some((name) => seen.has(name, node))) return []
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
