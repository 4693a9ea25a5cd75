import type { IdentityPart, Profile } from '../profile.ts'
import type { Node } from '../trace-index.ts'
import { judge, nameOf, type Judgement, type Rule } from './rule.ts'

const parts: readonly IdentityPart[] = ['user', 'thread', 'run']

/** What the way to a span, and the span itself, have told. */
interface Way {
  /** The nearest span, from here upwards, that carries each part. */
  readonly carried: Readonly<Partial<Record<IdentityPart, Node>>>
  /** Parts that a span was found without, and no span since then has carried. */
  readonly lost: readonly IdentityPart[]
}

const beginning: Way = { carried: {}, lost: [] }

/**
 * CTX002: a hop without what it has to carry, or without what the spans above it carry. Other spans may carry nothing, but for those
 * that the profile names as carriers. What was lost is told once, and not at every hop below.
 */
export const identityMissing: Rule = ({ nodes }, profile) => {
  const judgements: Judgement[] = []
  const ways: Way[] = []
  for (const node of nodes) {
    const above = (node.parent === undefined ? undefined : ways[node.parent.position]) ?? beginning
    const missing = missingOn(node, above, profile)
    const fresh = missing.filter((part) => !above.lost.includes(part))
    if (fresh.length > 0) judgements.push(tell(node, fresh, above))
    ways.push(goOn(above, node, missing))
  }
  return judgements
}

function goOn (above: Way, node: Node, missing: readonly IdentityPart[]): Way {
  const { user, thread, run } = node.span
  if (user === undefined && thread === undefined && run === undefined && missing.length === 0) return above
  const carried = {
    ...above.carried,
    ...(user === undefined ? {} : { user: node }),
    ...(thread === undefined ? {} : { thread: node }),
    ...(run === undefined ? {} : { run: node })
  }
  if (missing.length === 0 && above.lost.length === 0) return { carried, lost: above.lost }
  return { carried, lost: parts.filter((part) => node.span[part] === undefined && (missing.includes(part) || above.lost.includes(part))) }
}

function missingOn (node: Node, { carried }: Way, profile: Profile): readonly IdentityPart[] {
  const { hop, apart, span } = node
  if (hop === undefined && !isCarrier(node, profile)) return []
  return parts.filter((part) => span[part] === undefined && (hop?.carries.includes(part) === true || (!apart && carried[part] !== undefined)))
}

/** Of a service that makes hops: another one below it has its own ways. */
function isCarrier ({ span: { name, kind, service }, parent, hopAbove }: Node, { carriers }: Profile): boolean {
  if (hopAbove === undefined || hopAbove !== parent || hopAbove.span.service !== service) return false
  return carriers.some(({ below, ...carrier }) => carrier.kind === kind && (below === undefined || below === hopAbove.hop?.name) &&
    (name === carrier.name || name.startsWith(`${carrier.name} `)))
}

function tell (node: Node, missing: readonly IdentityPart[], { carried }: Way): Judgement {
  const lastRight = missing.map((part) => carried[part]).find((carrier) => carrier !== undefined) ?? node.hopAbove
  const expected = missing.map((part) => carried[part]?.span[part] === undefined ? `a ${part}` : `${part} ${carried[part].span[part]}`)
  return judge(node, {
    message: `${nameOf(node)} carries no ${missing.join(' and no ')}`,
    expected: expected.join(', '),
    actual: 'none',
    lastRight
  })
}
