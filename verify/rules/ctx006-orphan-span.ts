import type { Node } from '../trace-index.ts'
import { judge, nameOf, type Judgement, type Rule } from './rule.ts'

/** CTX006: a span whose parent is not in its trace, or that is its own ancestor. Spans that miss the same parent are told together. */
export const orphanSpan: Rule = ({ nodes }) => {
  const judgements: Judgement[] = []
  let lastHop: Node | undefined
  const missing = Map.groupBy(nodes.filter(({ broken }) => broken === 'orphan'), ({ span }) => span.parentSpanId)
  for (const node of nodes) {
    if (node.broken === 'cycle') judgements.push(cycle(node))
    const orphans = node.broken === 'orphan' ? missing.get(node.span.parentSpanId) ?? [] : []
    if (orphans[0] === node) judgements.push(orphan(orphans, node, lastHop))
    if (!node.cutOff && node.hop !== undefined) lastHop = node
  }
  return judgements
}

function orphan (orphans: readonly Node[], first: Node, lastRight: Node | undefined): Judgement {
  const others = orphans.length === 1 ? '' : ` (and ${orphans.length - 1} more spans below it)`
  const { parentSpanId } = first.span
  return judge(first, {
    message: `The parent ${parentSpanId} of ${nameOf(first)}${others} is not in the trace`,
    expected: parentSpanId,
    actual: 'no such span',
    lastRight,
    awaited: true
  })
}

function cycle (node: Node): Judgement {
  const { parentSpanId } = node.span
  return judge(node, {
    message: `${nameOf(node)} is its own ancestor`, expected: 'a root above it', actual: `parent ${parentSpanId}, which hangs below it`
  })
}
