import type { IdentityPart } from '../profile.ts'
import type { Node, TraceIndex } from '../trace-index.ts'

/** A span that carries another user, thread or run than the nearest span above it that was right. */
export interface Change { readonly node: Node, readonly lastRight: Node, readonly expected: string, readonly actual: string }

export interface Changes {
  readonly changes: readonly Change[]
  /** Spans that carry one and have none above them that does, in order. */
  readonly tops: readonly Node[]
}

interface Path { readonly lastRight: Node, readonly right: string, readonly deviation?: string }

/**
 * Where a part of the identity changes on the way from a span to those below it. A change is told once, at the span where it happens:
 * what hangs below may have the old value or the new one. Below spans that stand apart, only the user has to stay.
 */
export function findChanges ({ nodes }: TraceIndex, part: IdentityPart): Changes {
  const paths: (Path | undefined)[] = []
  const changes: Change[] = []
  const tops: Node[] = []
  for (const node of nodes) {
    const above = node.parent === undefined ? undefined : paths[node.parent.position]
    const actual = part !== 'user' && node.apart ? undefined : node.span[part]
    if (actual === undefined || actual === above?.deviation) {
      paths.push(above)
    } else if (above === undefined || actual === above.right) {
      if (above === undefined) tops.push(node)
      paths.push({ lastRight: node, right: actual })
    } else {
      changes.push({ node, lastRight: above.lastRight, expected: above.right, actual })
      paths.push({ lastRight: above.lastRight, right: above.right, deviation: actual })
    }
  }
  return { changes, tops }
}

/** Of the tops, those that carry another value than the first one; each value is told once. */
export function findStrangers (tops: readonly Node[], part: IdentityPart): readonly Change[] {
  const [first] = tops
  const expected = first?.span[part]
  if (first === undefined || expected === undefined) return []
  const told = new Set([expected])
  return tops.flatMap((node) => {
    const actual = node.span[part] ?? expected
    if (told.has(actual)) return []
    told.add(actual)
    return [{ node, lastRight: first, expected, actual }]
  })
}
