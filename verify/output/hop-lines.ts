import type { Finding, SeenHop, TraceReport } from '../report.ts'
import { ruleTitles } from '../rules/rule.ts'
import type { OutputOptions } from './output.ts'
import { oneLine, shortId } from './one-line.ts'
import { helpOf } from './rule-help.ts'
import type { Paint } from './paint.ts'

/** Of a longer trace, the first hops are shown, and those that a finding speaks of. */
const maxHops = 60
const maxDepth = 12

/** The hops of a trace, a line each, with the findings below theirs. */
export function hopLines ({ hops, findings }: TraceReport, paint: Paint, options: OutputOptions): readonly string[] {
  const depths = depthsOf(hops)
  const places = Map.groupBy(findings, ({ spanId }) => spanId)
  const right = new Set(findings.flatMap(({ lastRight }) => lastRight?.spanId ?? []))
  const origin = hops[0]?.startedAt ?? 0
  const lines: string[] = []
  let hidden = 0
  const tellHidden = (): void => {
    if (hidden > 0) lines.push(paint('dim', `    ⋮ ${hidden} more`))
    hidden = 0
  }

  for (const [index, hop] of hops.entries()) {
    const here = places.get(hop.spanId)
    if (index >= maxHops && here === undefined && !right.has(hop.spanId)) {
      hidden += 1
      continue
    }
    tellHidden()
    const depth = depths.get(hop.spanId) ?? 0
    const mark = here !== undefined ? paint('red', '✗') : right.has(hop.spanId) ? paint('green', '✓') : ' '
    const name = '  '.repeat(depth) + oneLine(hop.name === hop.hop ? hop.hop : `${hop.hop} "${hop.name}"`, 60)
    lines.push(`  ${mark} ${paint('dim', offset(hop.startedAt - origin))}  ${name.padEnd(40)}  ${identity(hop)}`)
    for (const finding of here ?? []) lines.push(...findingLines(finding, paint, options, '      '))
  }
  tellHidden()
  return [...lines, ...elsewhere(hops, findings, paint, options)]
}

/** Findings at spans that are no hops. */
function elsewhere (hops: readonly SeenHop[], findings: readonly Finding[], paint: Paint, options: OutputOptions): readonly string[] {
  const shown = new Set(hops.map(({ spanId }) => spanId))
  return findings.filter(({ spanId }) => !shown.has(spanId)).flatMap((finding) => [
    `  ${paint('red', '✗')} ${oneLine(finding.spanName, 60)}${finding.hop === undefined ? '' : ` below ${oneLine(finding.hop, 60)}`} (span ${oneLine(finding.spanId)})`,
    ...findingLines(finding, paint, options, '      ')
  ])
}

function findingLines ({ rule, message, expected, actual, lastRight, spanId }: Finding, paint: Paint, { docsUrl }: OutputOptions, indent: string): readonly string[] {
  const lines = [`${indent}${paint('red', `▲ ${rule} ${ruleTitles[rule]}`)}: ${oneLine(message, 500)}`]
  if (expected !== undefined) lines.push(`${indent}  expected ${oneLine(expected)}, seen ${actual === undefined ? 'none' : oneLine(actual)}`)
  if (lastRight !== undefined) {
    const where = lastRight.hop ?? lastRight.name
    lines.push(`${indent}  last right at ${oneLine(where, 60)} (span ${oneLine(lastRight.spanId)})`)
  }
  lines.push(paint('dim', `${indent}  span ${oneLine(spanId)} · ${helpOf(rule, docsUrl)}`))
  return lines
}

function depthsOf (hops: readonly SeenHop[]): ReadonlyMap<string, number> {
  const depths = new Map<string, number>()
  for (const { spanId, parentSpanId } of hops) {
    const above = parentSpanId === undefined ? undefined : depths.get(parentSpanId)
    depths.set(spanId, above === undefined ? 0 : Math.min(above + 1, maxDepth))
  }
  return depths
}

function identity ({ identity: { userId, threadId, runId }, recipient, eventType, sequence }: SeenHop): string {
  const parts = [
    userId === undefined ? 'no user' : `user ${oneLine(userId, 60)}`,
    threadId === undefined ? undefined : `thread ${shortId(threadId)}`,
    runId === undefined ? undefined : `run ${shortId(runId)}`,
    eventType === undefined ? undefined : oneLine(sequence === undefined ? eventType : `${eventType} ${sequence}`, 60),
    recipient === undefined ? undefined : `→ ${oneLine(recipient.userId ?? 'nobody', 60)}${recipient.threadId === undefined ? '' : ` ${shortId(recipient.threadId)}`}`
  ]
  return parts.filter((part) => part !== undefined).join(' · ')
}

/** From µs. */
function offset (microseconds: number): string {
  return `${(microseconds / 1000).toFixed(1)} ms`.padStart(11)
}
