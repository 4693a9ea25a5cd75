import type { Log, LogicalLocation, ReportingDescriptor, Result } from 'sarif'
import packageJson from '../../package.json' with { type: 'json' }
import type { Finding } from '../report.ts'
import { ruleIds, ruleTitles, type RuleId } from '../rules/rule.ts'
import { keepFindings, type KeptFindings } from './kept-findings.ts'
import type { Outcome, Output, OutputOptions } from './output.ts'
import { helpOf } from './rule-help.ts'

/** SARIF 2.1.0 (OASIS). A trace has no files and lines, so a finding's place is a logical one: a span of a trace of a service. */
export function createSarifOutput (options: OutputOptions): Output {
  const findings = keepFindings(options.maxFindings)
  return {
    trace (report) {
      findings.add(report)
      return ''
    },
    end: (outcome) => `${JSON.stringify(toLog(outcome, findings, options), null, 2)}\n`
  }
}

function toLog ({ report, problems, notes, exitCode }: Outcome, findings: KeptFindings, options: OutputOptions): Log {
  const incomplete = [...problems, ...report.incomplete]
  const more = findings.total - findings.kept.length
  const told = more === 0 ? notes : [...notes, `${more} more findings are not listed`]
  return {
    $schema: 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json',
    version: '2.1.0',
    runs: [{
      tool: { driver: { name: 'threadline verify', version: packageJson.version, rules: ruleIds.map((rule) => toRule(rule, options)) } },
      columnKind: 'utf16CodeUnits',
      invocations: [{
        executionSuccessful: incomplete.length === 0,
        exitCode,
        toolExecutionNotifications: [
          ...incomplete.map((text) => ({ level: 'warning' as const, message: { text } })),
          ...told.map((text) => ({ level: 'note' as const, message: { text } }))
        ]
      }],
      results: findings.kept.map(toResult)
    }]
  }
}

function toRule (rule: RuleId, { docsUrl }: OutputOptions): ReportingDescriptor {
  return {
    id: rule,
    name: ruleTitles[rule].replace(/(?:^|\s)(\w)/g, (_match, letter: string) => letter.toUpperCase()),
    shortDescription: { text: ruleTitles[rule] },
    help: { text: `See ${helpOf(rule, docsUrl)}` },
    // Only an absolute address is allowed here.
    ...(docsUrl === undefined ? {} : { helpUri: helpOf(rule, docsUrl) }),
    defaultConfiguration: { level: 'error' }
  }
}

function toResult (finding: Finding): Result {
  const { rule, traceId, spanId, spanName, hop, message, expected, actual, lastRight, service } = finding
  const seen = expected === undefined && actual === undefined ? '' : ` Expected ${expected ?? 'none'}, seen ${actual ?? 'none'}.`
  const right = lastRight === undefined ? '' : ` It was last right at ${lastRight.hop ?? lastRight.name} (span ${lastRight.spanId}).`
  return {
    ruleId: rule,
    ruleIndex: ruleIds.indexOf(rule),
    level: 'error',
    message: { text: `${message}.${seen}${right}`.replace(/\.\./g, '.') },
    locations: [{ logicalLocations: [spanLocation(finding, spanId, hop ?? spanName)] }],
    ...(lastRight === undefined ? {} : {
      relatedLocations: [{
        id: 1, message: { text: 'Last right here' }, logicalLocations: [spanLocation(finding, lastRight.spanId, lastRight.hop ?? lastRight.name)]
      }]
    }),
    // The same fault at the same hop is the same alert, in whichever trace it shows.
    partialFingerprints: { 'ruleAndHop/v1': [rule, service ?? '', hop ?? '', spanName].join('|') },
    properties: { traceId, spanId, ...(service === undefined ? {} : { service }), ...(hop === undefined ? {} : { hop }) }
  }
}

function spanLocation ({ traceId, service }: Finding, spanId: string, name: string): LogicalLocation {
  return { name, kind: 'span', fullyQualifiedName: [service ?? 'unknown', traceId, spanId].join('/') }
}
