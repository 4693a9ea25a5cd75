import { readFileSync } from 'node:fs'
import t from 'tap'
import { usage } from '../bin/verify/usage.ts'
import { JsonReport } from '../verify/output/json-report.ts'
import { plain } from '../verify/output/paint.ts'
import { createTextOutput } from '../verify/output/text-output.ts'
import { readProfile } from '../verify/read-profile.ts'
import type { Span } from '../verify/span.ts'
import { verify } from '../verify/verify.ts'
import { threeTraces, write } from './support/verified-traces.ts'

const document = readFileSync(new URL('../docs/verify.md', import.meta.url), 'utf8')

function blockOf (language: string): string {
  return new RegExp(`\`\`\`${language}\n([^]*?)\n\`\`\``).exec(document)?.[1] ?? ''
}

t.test('the document shows what is printed', async (t) => {
  const { reports, report } = threeTraces()

  const printed = write(createTextOutput({ maxFindings: 10, paint: plain, isVerbose: false }), reports, { report, problems: [], notes: [], exitCode: 1 })

  const shown = blockOf('text').split('\n')
  t.ok(shown.length > 3)
  t.same(shown.filter((line) => !printed.split('\n').includes(line)), [])
})

t.test('the profile of the document is one, and verifies the service that it speaks of', async (t) => {
  const profile = readProfile(JSON.parse(blockOf('json')))
  const span = (index: number, stage: string, user: string): Span => ({
    traceId: 'a'.repeat(32), spanId: `${index}`.padStart(16, '0'), parentSpanId: index === 1 ? undefined : `${index - 1}`.padStart(16, '0'), name: stage, kind: 'internal',
    startedAt: index, endedAt: index + 1, failed: false, attributes: { 'app.stage': stage, 'enduser.id': user, 'app.conversation': 'c', ...(stage === 'deliver' ? { 'app.recipient': user } : {}) }, links: []
  })

  const right = verify([span(1, 'receive', 'alice'), span(2, 'work', 'alice'), span(3, 'deliver', 'alice')], { profile })
  const wrong = verify([span(1, 'receive', 'alice'), span(2, 'work', 'bob'), span(3, 'deliver', 'bob')], { profile })
  const missing = verify([span(1, 'receive', 'alice')], { profile })

  t.same(right.findings, [])
  t.equal(right.verdict, 'clean')
  t.ok(wrong.findings.some(({ rule, hop }) => rule === 'CTX004' && hop === 'work'))
  t.ok(missing.findings.some(({ rule }) => rule === 'CTX001'))
})

t.test('every option that the document names is there, and every field of the report is named', async (t) => {
  const options = new Set(document.match(/--[a-z][\w-]+/g))
  options.delete('--help')

  t.same([...options].filter((option) => !usage.includes(option)), [])
  t.same(Object.keys(JsonReport.properties).filter((field) => !document.includes(`\`${field}\``)), [])
})
