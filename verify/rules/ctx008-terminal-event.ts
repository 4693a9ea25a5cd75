import { judge, type Judgement, type Rule } from './rule.ts'
import { isOpen, runsOf } from './runs.ts'

/** CTX008: a run that tells no end, or more than one. */
export const terminalEvent: Rule = (trace, { terminal }) => {
  if (terminal === undefined) return []
  const { hop, eventType } = terminal
  return runsOf(trace, terminal).flatMap((seen): readonly Judgement[] => {
    const { run, ends } = seen
    const last = seen.hops.at(-1)
    if (isOpen(seen) && last !== undefined) {
      return [judge(last, {
        message: `Run ${run} has told no ${eventType}`, hop, expected: `one ${eventType}`, actual: 'none', lastRight: last, awaited: true
      })]
    }
    const [first, second] = ends
    if (second === undefined) return []
    return [judge(second, {
      message: `Run ${run} has told ${ends.length} times ${eventType}`, expected: `one ${eventType}`, actual: String(ends.length), lastRight: first
    })]
  })
}
