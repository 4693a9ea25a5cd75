import type { SeenSpan } from '../seen-span.ts'
import { judge, nameOf, type Rule } from './rule.ts'

/** CTX009: a request that carried the identity to a host that is not on the list. */
export const foreignBaggage: Rule = ({ nodes }, { baggageHosts }) => {
  const allowed = new Set(baggageHosts.map((host) => host.toLowerCase()))
  return nodes.filter(({ span }) => span.baggageSent && !isAllowed(span, allowed)).map((node) => judge(node, {
    message: `${nameOf(node)} sent baggage to ${hostOf(node.span)}`,
    expected: baggageHosts.length === 0 ? 'no host' : baggageHosts.join(', '),
    actual: hostOf(node.span),
    lastRight: node.parent
  }))
}

function isAllowed ({ host, port }: SeenSpan, allowed: ReadonlySet<string>): boolean {
  if (host === undefined) return false
  const name = host.toLowerCase()
  return allowed.has(name) || (port !== undefined && allowed.has(`${name}:${port}`))
}

function hostOf ({ host = 'an unknown host', port }: SeenSpan): string {
  return port === undefined ? host : `${host}:${port}`
}
