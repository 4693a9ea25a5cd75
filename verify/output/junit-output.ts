import type { Finding } from '../report.ts'
import { ruleIds, ruleTitles, type RuleId } from '../rules/rule.ts'
import { keepFindings } from './kept-findings.ts'
import type { Outcome, Output, OutputOptions } from './output.ts'
import { helpOf } from './rule-help.ts'

const suite = 'threadline verify'
const maxReasons = 100

/**
 * JUnit's XML: a test case for each rule, and one for whether everything could be checked, so that a report of whatever number of traces stays small
 * and its cases are the same from one run to the next.
 */
export function createJunitOutput (options: OutputOptions): Output {
  const findings = keepFindings(options.maxFindings)
  return {
    trace (report) {
      findings.add(report)
      return ''
    },
    end (outcome) {
      const byRule = Map.groupBy(findings.kept, ({ rule }) => rule)
      const rules = ruleIds.map((rule) => ruleCase(rule, byRule.get(rule) ?? [], findings.byRule.get(rule) ?? 0, options))
      const reasons = [...outcome.problems, ...outcome.report.incomplete]
      const counts = `tests="${ruleIds.length + 1}" failures="${findings.byRule.size}" errors="${reasons.length > 0 ? 1 : 0}" skipped="0" time="0"`
      return [
        '<?xml version="1.0" encoding="UTF-8"?>',
        `<testsuites name="${suite}" ${counts}>`,
        `  <testsuite name="${suite}" ${counts}>`,
        `    <properties>${propertiesOf(outcome)}</properties>`,
        ...rules,
        completeCase(reasons),
        '  </testsuite>',
        '</testsuites>',
        ''
      ].join('\n')
    }
  }
}

function ruleCase (rule: RuleId, findings: readonly Finding[], total: number, { docsUrl }: OutputOptions): string {
  const open = `    <testcase classname="threadline.isolation" name="${rule} ${escapeXml(ruleTitles[rule])}" time="0"`
  if (total === 0) return `${open}/>`
  const lines = findings.map((finding) => describe(finding))
  if (total > findings.length) lines.push(`… and ${total - findings.length} more`)
  const message = `${total} finding${total === 1 ? '' : 's'}, see ${helpOf(rule, docsUrl)}`
  return `${open}>\n      <failure type="${rule}" message="${escapeXml(message)}">${escapeXml(lines.join('\n'))}</failure>\n    </testcase>`
}

function completeCase (reasons: readonly string[]): string {
  const open = '    <testcase classname="threadline.isolation" name="everything could be checked" time="0"'
  if (reasons.length === 0) return `${open}/>`
  const lines = reasons.slice(0, maxReasons)
  if (reasons.length > maxReasons) lines.push(`… and ${reasons.length - maxReasons} more`)
  return `${open}>\n      <error type="incomplete" message="${escapeXml(reasons[0] ?? '')}">${escapeXml(lines.join('\n'))}</error>\n    </testcase>`
}

function describe ({ message, hop, spanName, spanId, traceId, expected, actual, lastRight }: Finding): string {
  const seen = expected === undefined && actual === undefined ? '' : `; expected ${expected ?? 'none'}, seen ${actual ?? 'none'}`
  const right = lastRight === undefined ? '' : `; last right at ${lastRight.hop ?? lastRight.name} (span ${lastRight.spanId})`
  return `${message} — trace ${traceId}, ${hop ?? spanName} (span ${spanId})${seen}${right}`
}

function propertiesOf ({ report: { spans, traces } }: Outcome): string {
  const counts = { spans, traces: traces.checked, clean: traces.clean, incomplete: traces.incomplete }
  return Object.entries(counts).map(([name, count]) => `<property name="${name}" value="${count}"/>`).join('')
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }

/** For text and attributes. What XML 1.0 does not allow (section 2.2) becomes U+FFFD: spans may say anything. */
function escapeXml (text: string): string {
  return text.toWellFormed()
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => entities[character] ?? '')
}
