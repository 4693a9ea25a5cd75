import { findChanges, findStrangers } from './changes.ts'
import { judge, nameOf, type Rule } from './rule.ts'

/** CTX003: a span of another thread than the spans above it; or, where none of them says a thread, than the trace's first. */
export const threadChanged: Rule = (trace) => {
  const { changes, tops } = findChanges(trace, 'thread')
  return [...changes, ...findStrangers(tops, 'thread')].map(({ node, expected, actual, lastRight }) => judge(node, {
    message: `The thread changed from ${expected} to ${actual} at ${nameOf(node)}`, expected, actual, lastRight
  }))
}
