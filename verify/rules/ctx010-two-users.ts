import { findChanges, findStrangers } from './changes.ts'
import { judge, nameOf, type Rule } from './rule.ts'

/** CTX010: spans of two users in one trace, with no change on a path between them: that would be CTX004. */
export const twoUsers: Rule = (trace) => findStrangers(findChanges(trace, 'user').tops, 'user').map(({ node, expected, actual, lastRight }) => judge(node, {
  message: `The trace is ${expected}'s, and ${nameOf(node)} is ${actual}'s`, expected, actual, lastRight
}))
