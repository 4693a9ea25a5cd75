import { findChanges } from './changes.ts'
import { judge, nameOf, type Rule } from './rule.ts'

/** CTX005: a span of another run than the spans above it. Runs beside each other in a trace are not compared. */
export const runChanged: Rule = (trace) => findChanges(trace, 'run').changes.map(({ node, expected, actual, lastRight }) => judge(node, {
  message: `The run changed from ${expected} to ${actual} at ${nameOf(node)}`, expected, actual, lastRight
}))
