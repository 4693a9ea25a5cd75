import { counted } from '../counted.ts'
import type { TraceReport } from '../report.ts'
import { ruleIds, ruleTitles } from '../rules/rule.ts'
import { hopLines } from './hop-lines.ts'
import { keepFindings, type KeptFindings } from './kept-findings.ts'
import { oneLine } from './one-line.ts'
import type { Outcome, Output, OutputOptions } from './output.ts'
import type { Paint } from './paint.ts'
import { helpOf } from './rule-help.ts'

export interface TextOptions extends OutputOptions {
  readonly paint: Paint
  /** The hops of traces that are clean as well, and those of incomplete ones with the reasons why they are. */
  readonly isVerbose: boolean
}

/** How many reasons are told of what could not be checked. */
const maxReasons = 20

/** For people: each trace with findings, hop by hop, and a sum. */
export function createTextOutput (options: TextOptions): Output {
  const findings = keepFindings(0)
  return {
    trace (report) {
      const left = options.maxFindings - findings.total
      findings.add(report)
      return traceText(report, left, options)
    },
    end: (outcome) => sumText(outcome, findings, options)
  }
}

function traceText (report: TraceReport, left: number, options: TextOptions): string {
  const { paint, isVerbose } = options
  const { traceId, spans, verdict, incomplete } = report
  const title = `Trace ${oneLine(traceId)} · ${counted(spans, 'span')}`
  switch (verdict) {
    case 'clean': return isVerbose ? lines([`${paint('green', '✓')} ${title}`, ...hopLines(report, paint, options), '']) : ''
    case 'incomplete': {
      if (!isVerbose) return ''
      const reasons = incomplete.slice(0, maxReasons).map((reason) => `    ${oneLine(reason, 500)}`)
      return lines([`${paint('yellow', '?')} ${title}`, ...reasons, ...hopLines(report, paint, options), ''])
    }
    case 'findings': {
      if (left <= 0) return ''
      const shown = { ...report, findings: report.findings.slice(0, left) }
      return lines([`${paint('red', '✗')} ${paint('bold', title)} · ${counted(report.findings.length, 'finding')}`, ...hopLines(shown, paint, options), ''])
    }
  }
}

function sumText ({ report, problems, notes, exitCode }: Outcome, findings: KeptFindings, { paint, maxFindings, docsUrl }: TextOptions): string {
  const { traces, spans } = report
  const reasons = [...problems, ...report.incomplete]
  const more = Math.max(0, findings.total - maxFindings)
  const sum: string[] = notes.map((note) => paint('dim', oneLine(note, 500)))
  if (more > 0) sum.push(`${counted(more, 'more finding')} not shown; --max-findings shows more`)
  if (findings.total > 0) {
    sum.push(paint('red', `✗ ${counted(findings.total, 'finding')} in ${traces.withFindings} of ${counted(traces.checked, 'trace')} (${counted(spans, 'span')})`))
    for (const rule of ruleIds) {
      const count = findings.byRule.get(rule)
      if (count !== undefined) sum.push(`    ${rule} ${ruleTitles[rule]}: ${count} · ${helpOf(rule, docsUrl)}`)
    }
  }
  if (exitCode === 0) {
    sum.push(paint('green', `✓ ${counted(traces.checked, 'trace')}, ${counted(spans, 'span')}: identity was never lost and never crossed`))
  } else if (reasons.length > 0) {
    sum.push(paint('yellow', `? Not everything could be checked: ${counted(traces.checked, 'trace')}, ${traces.incomplete} incomplete, ${traces.clean} clean`))
    sum.push(...reasons.slice(0, maxReasons).map((reason) => `    ${oneLine(reason, 500)}`))
    if (reasons.length > maxReasons) sum.push(`    … and ${reasons.length - maxReasons} more`)
  }
  return lines(sum)
}

function lines (list: readonly string[]): string {
  return list.length === 0 ? '' : `${list.join('\n')}\n`
}
