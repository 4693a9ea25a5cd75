import type { Finding, TraceReport } from '../report.ts'
import type { RuleId } from '../rules/rule.ts'

/** The findings of all traces: the first ones as they are, the rest by number. */
export interface KeptFindings {
  add (report: TraceReport): void
  readonly kept: readonly Finding[]
  readonly total: number
  /** How many there are of each rule that has any. */
  readonly byRule: ReadonlyMap<RuleId, number>
}

export function keepFindings (maxFindings: number): KeptFindings {
  const kept: Finding[] = []
  const byRule = new Map<RuleId, number>()
  let total = 0
  return {
    kept,
    byRule,
    get total () { return total },
    add ({ findings }) {
      for (const finding of findings) {
        total += 1
        byRule.set(finding.rule, (byRule.get(finding.rule) ?? 0) + 1)
        if (kept.length < maxFindings) kept.push(finding)
      }
    }
  }
}
