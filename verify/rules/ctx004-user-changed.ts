import { findChanges } from './changes.ts'
import { judge, nameOf, type Rule } from './rule.ts'

/** CTX004: a span of another user than the spans above it. */
export const userChanged: Rule = (trace) => findChanges(trace, 'user').changes.map(({ node, expected, actual, lastRight }) => judge(node, {
  message: `The user changed from ${expected} to ${actual} at ${nameOf(node)}`, expected, actual, lastRight
}))
