import type { Node, TraceIndex } from '../trace-index.ts'
import { judge, nameOf, type Judgement, type Rule } from './rule.ts'

/**
 * CTX007: an event that was written to a connection of another user than the event's, or, where it is an event of a thread, to one that
 * is not in that thread. Whose a connection is, is compared with what other spans of the trace say of it. A span that failed has written
 * nothing.
 */
export const wrongRecipient: Rule = (trace) => {
  const owners = ownersOf(trace)
  const told = new Set<string>()
  return trace.nodes.flatMap((node): readonly Judgement[] => {
    const { failed, connection = '', recipientUser } = node.span
    if (recipientUser === undefined || failed) return []
    const wrong = wrongUser(node) ?? wrongThread(node)
    if (wrong !== undefined) return [wrong]
    const owner = owners.get(connection)
    if (owner === undefined || owner.span.user === recipientUser || told.has(connection)) return []
    told.add(connection)
    return [judge(node, {
      message: `${nameOf(node)} says that connection ${connection} is ${recipientUser}'s, and ${nameOf(owner)} that it is ${owner.span.user}'s`,
      expected: owner.span.user,
      actual: recipientUser,
      lastRight: owner
    })]
  })
}

/** The first span that speaks for a connection, and is not written to it. */
function ownersOf ({ nodes }: TraceIndex): ReadonlyMap<string, Node> {
  const owners = new Map<string, Node>()
  for (const node of nodes) {
    const { connection, user, recipientUser } = node.span
    if (connection === undefined || user === undefined || recipientUser !== undefined || owners.has(connection)) continue
    owners.set(connection, node)
  }
  return owners
}

function wrongUser (node: Node): Judgement | undefined {
  const { user, recipientUser, eventType = 'an event' } = node.span
  if (user === undefined || user === recipientUser) return undefined
  return judge(node, {
    message: `${eventType} of ${user} was delivered to a connection of ${recipientUser}`,
    expected: user,
    actual: recipientUser,
    lastRight: node.parent
  })
}

function wrongThread (node: Node): Judgement | undefined {
  const { thread, recipientThread, sequence, eventType = 'an event' } = node.span
  if (sequence === undefined || thread === undefined || thread === recipientThread) return undefined
  return judge(node, {
    message: `${eventType} of thread ${thread} was delivered to a connection in ${recipientThread === undefined ? 'no thread' : `thread ${recipientThread}`}`,
    expected: thread,
    actual: recipientThread ?? 'no thread',
    lastRight: node.parent
  })
}
