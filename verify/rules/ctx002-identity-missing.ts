import type { IdentityPart, Profile } from '../profile.ts'
import type { Node } from '../trace-index.ts'
import { judge, nameOf, type Judgement, type Rule } from './rule.ts'

const parts: readonly IdentityPart[] = ['user', 'thread', 'run']

/** The nearest span, from here upwards, that carries each part. */
type Carried = Readonly<Partial<Record<IdentityPart, Node>>>

/**
 * CTX002: a hop without what it has to carry, or without what the spans above it carry. Other spans may carry nothing, but for those
 * that the profile names as carriers. What was lost is told once, and not at every hop below.
 */
export const identityMissing: Rule = ({ nodes }, profile) => {
  const judgements: Judgement[] = []
  const carried: Carried[] = []
  const lost: ReadonlySet<IdentityPart>[] = []
  for (const node of nodes) {
    const above: Carried = node.parent === undefined ? {} : carried[node.parent.position] ?? {}
    const lostAbove: ReadonlySet<IdentityPart> = node.parent === undefined ? new Set() : lost[node.parent.position] ?? new Set()
    const missing = missingOn(node, above, profile)
    const fresh = missing.filter((part) => !lostAbove.has(part))
    if (fresh.length > 0) judgements.push(tell(node, fresh, above))
    const own = parts.filter((part) => node.span[part] !== undefined)
    carried.push(own.length === 0 ? above : { ...above, ...Object.fromEntries(own.map((part) => [part, node])) })
    lost.push(missing.length === 0 && lostAbove.size === 0 ? lostAbove : new Set([...lostAbove, ...missing].filter((part) => !own.includes(part))))
  }
  return judgements
}

function missingOn (node: Node, above: Carried, profile: Profile): readonly IdentityPart[] {
  const { hop, apart, span } = node
  if (hop === undefined && !isCarrier(node, profile)) return []
  const inherited = apart ? [] : parts.filter((part) => above[part] !== undefined)
  const needed = new Set([...hop?.carries ?? [], ...inherited])
  return parts.filter((part) => needed.has(part) && span[part] === undefined)
}

/** Of a service that makes hops: another one below it has its own ways. */
function isCarrier ({ span: { name, kind, service }, hopAbove }: Node, { carriers }: Profile): boolean {
  if (hopAbove === undefined || hopAbove.span.service !== service) return false
  return carriers.some((carrier) => carrier.kind === kind && (name === carrier.name || name.startsWith(`${carrier.name} `)))
}

function tell (node: Node, missing: readonly IdentityPart[], above: Carried): Judgement {
  const lastRight = missing.map((part) => above[part]).find((carrier) => carrier !== undefined) ?? node.hopAbove
  const expected = missing.map((part) => above[part]?.span[part] === undefined ? `a ${part}` : `${part} ${above[part].span[part]}`)
  return judge(node, {
    message: `${nameOf(node)} carries no ${missing.join(' and no ')}`,
    expected: expected.join(', '),
    actual: 'none',
    lastRight
  })
}
