import type { RuleId } from '../rules/rule.ts'

/** Where a rule is told, with an example and a fix. */
export function helpOf (rule: RuleId, docsUrl = 'docs/rules/'): string {
  return `${docsUrl}${rule}.md`
}
