import type { Node } from '../trace-index.ts'
import { judge, type Judgement, type Rule } from './rule.ts'

/**
 * CTX007: an event that was written to a connection of another user than the event's, or, where it is an event of a thread, to one that
 * is not in that thread; or one of which nothing says to whose connection it was written. A span that failed has written nothing. Where the
 * span itself is another's than those above it, CTX003 or CTX004 tells it.
 */
export const wrongRecipient: Rule = ({ nodes }) => nodes.flatMap((node): readonly Judgement[] => {
  const { failed, recipientUser, recipientThread } = node.span
  if (failed) return []
  if (recipientUser === undefined && node.hop?.delivers === true) return [unknownRecipient(node)]
  if (recipientUser === undefined && recipientThread === undefined) return []
  const wrong = wrongUser(node, recipientUser) ?? wrongThread(node)
  return wrong === undefined ? [] : [wrong]
})

function unknownRecipient (node: Node): Judgement {
  const { eventType = 'An event' } = node.span
  return judge(node, {
    message: `${eventType} was delivered, and nothing says to whose connection`, expected: 'a recipient', actual: 'none', lastRight: node.parent
  })
}

function wrongUser (node: Node, actual: string | undefined): Judgement | undefined {
  const { span: { user, eventType = 'An event' }, path } = node
  const expected = user ?? path.user
  if (actual === undefined || expected === undefined || expected === actual || path.user === actual) return undefined
  return judge(node, { message: `${eventType} of ${expected} was delivered to a connection of ${actual}`, expected, actual, lastRight: node.parent })
}

function wrongThread (node: Node): Judgement | undefined {
  const { span: { thread, recipientThread, sequence, eventType = 'An event' }, path } = node
  const expected = thread ?? path.thread
  if (sequence === undefined || expected === undefined || expected === recipientThread || path.thread === recipientThread) return undefined
  const actual = recipientThread === undefined ? 'no thread' : `thread ${recipientThread}`
  return judge(node, {
    message: `${eventType} of thread ${expected} was delivered to a connection in ${actual}`, expected, actual: recipientThread ?? actual, lastRight: node.parent
  })
}
