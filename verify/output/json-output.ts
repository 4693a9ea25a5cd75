import type { Finding, TraceReport } from '../report.ts'
import { ruleTitles } from '../rules/rule.ts'
import type { JsonReport } from './json-report.ts'
import { keepFindings } from './kept-findings.ts'
import type { Outcome, Output, OutputOptions } from './output.ts'
import { helpOf } from './rule-help.ts'

export interface JsonOptions extends OutputOptions {
  /** Every trace with its hops, and not only those with findings. */
  readonly isVerbose: boolean
}

/** One document of the shape of `JsonReport`. Traces are written as they come, so that their number is nothing to memory. */
export function createJsonOutput (options: JsonOptions): Output {
  const findings = keepFindings(options.maxFindings)
  const begin = '{"version":1,"traces":['
  let written = ''
  const next = (text: string): string => {
    const separated = `${written === '' ? begin : ','}${text}`
    written = 'begun'
    return separated
  }
  return {
    trace (report) {
      const isShown = options.isVerbose || (report.verdict === 'findings' && findings.total < options.maxFindings)
      findings.add(report)
      return isShown ? next(JSON.stringify(toJsonTrace(report))) : ''
    },
    end (outcome) {
      const rest = JSON.stringify(sumOf(outcome, findings.kept.map((finding) => toJsonFinding(finding, options)), findings.total))
      return `${written === '' ? begin : ''}],${rest.slice(1)}\n`
    }
  }
}

function toJsonTrace ({ traceId, verdict, spans, hops, incomplete }: TraceReport): unknown {
  return { traceId, verdict, spans, hops, incomplete }
}

type JsonFinding = JsonReport['findings'][number]

function toJsonFinding (finding: Finding, { docsUrl }: OutputOptions): JsonFinding {
  // As it would be read: without what is undefined.
  const known = JSON.parse(JSON.stringify(finding)) as Pick<JsonFinding, keyof Finding> // the same fields
  return { ...known, title: ruleTitles[finding.rule], help: helpOf(finding.rule, docsUrl) }
}

function sumOf ({ report, problems, notes, exitCode }: Outcome, findings: JsonReport['findings'], total: number): Omit<JsonReport, 'version' | 'traces'> {
  return {
    verdict: problems.length > 0 && report.verdict === 'clean' ? 'incomplete' : report.verdict,
    exitCode,
    spans: report.spans,
    counts: { ...report.traces, findings: total },
    findings,
    moreFindings: total - findings.length,
    incomplete: [...problems, ...report.incomplete],
    notes: [...notes]
  }
}
