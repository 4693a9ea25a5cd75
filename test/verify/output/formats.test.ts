import { SaxesParser } from 'saxes'
import type { Log } from 'sarif'
import fc from 'fast-check'
import t from 'tap'
import { Check } from 'typebox/value'
import { createJsonOutput } from '../../../verify/output/json-output.ts'
import { JsonReport } from '../../../verify/output/json-report.ts'
import { createJunitOutput } from '../../../verify/output/junit-output.ts'
import type { Outcome } from '../../../verify/output/output.ts'
import { createSarifOutput } from '../../../verify/output/sarif-output.ts'
import { ruleIds } from '../../../verify/rules/rule.ts'
import { verify } from '../../../verify/verify.ts'
import { threeTraces, write } from '../../support/verified-traces.ts'

const options = { maxFindings: 100, docsUrl: 'https://example.com/rules/' }
const nothing: Outcome = { report: verify([]), problems: ['No trace was found'], notes: [], exitCode: 2 }

function outcome (exitCode = 1): { readonly reports: ReturnType<typeof threeTraces>['reports'], readonly outcome: Outcome } {
  const { reports, report } = threeTraces('mal<&>"\'\u0000\u001b[31m\ud800]]>lory')
  return { reports, outcome: { report, problems: ['Could not read x'], notes: ['Skipped y'], exitCode } }
}

t.test('JSON is one document of the described shape, with the hops of each trace that has findings', async (t) => {
  const { reports, outcome: given } = outcome()

  for (const isVerbose of [false, true]) {
    const report: unknown = JSON.parse(write(createJsonOutput({ ...options, isVerbose }), reports, given))

    if (!Check(JsonReport, report)) throw new Error('It is not of that shape')
    t.match(report, { version: 1, verdict: 'findings', exitCode: 1, spans: 60, counts: { checked: 3, clean: 1, withFindings: 1, incomplete: 1, findings: 1 }, moreFindings: 0 })
    t.match(report.findings, [{ rule: 'CTX004', title: 'user changed', help: 'https://example.com/rules/CTX004.md', hop: 'tool', expected: 'alice', lastRight: { hop: 'engine' } }])
    t.equal(report.traces.length, isVerbose ? 3 : 1)
    t.equal(report.traces.find(({ verdict }) => verdict === 'findings')?.hops[0]?.hop, 'socket.receive')
    t.equal(report.incomplete[0], 'Could not read x')
  }
  t.ok(Check(JsonReport, JSON.parse(write(createJsonOutput({ ...options, isVerbose: false }), [], nothing))))
})

t.test('JSON says incomplete, and not clean, of clean traces beside something that could not be read', async (t) => {
  const report = verify([])

  t.match(JSON.parse(write(createJsonOutput({ ...options, isVerbose: false }), [], { ...nothing, report })), { verdict: 'incomplete', incomplete: ['No trace was found'] })
})

t.test('SARIF has the shape of 2.1.0: every result refers to a described rule, and has a place', async (t) => {
  const { reports, outcome: given } = outcome()

  const log = JSON.parse(write(createSarifOutput(options), reports, given)) as Log // what is checked below
  const { tool: { driver }, results = [], invocations = [] } = log.runs[0] ?? { tool: { driver: { name: '' } } }

  t.equal(log.version, '2.1.0')
  t.match(log.$schema, /^https:\/\/.*sarif-schema-2\.1\.0\.json$/)
  t.same(driver.rules?.map(({ id }) => id), [...ruleIds])
  t.ok(driver.rules?.every(({ id, helpUri = '' }) => URL.canParse(helpUri) && helpUri.endsWith(`${id}.md`)))
  t.equal(results.length, 1)
  for (const { ruleId, ruleIndex = -1, level, message, locations = [], relatedLocations = [] } of results) {
    t.equal(driver.rules?.[ruleIndex]?.id, ruleId)
    t.equal(level, 'error')
    t.match(message.text, /alice/)
    t.match(locations, [{ logicalLocations: [{ name: 'tool', kind: 'span', fullyQualifiedName: /^threadline\/[0-9a-f]{32}\/[0-9a-f]{16}$/ }] }])
    t.match(relatedLocations, [{ logicalLocations: [{ name: 'engine' }] }])
  }
  t.match(invocations, [{ executionSuccessful: false, exitCode: 1 }])
  t.match(invocations[0]?.toolExecutionNotifications?.map(({ level, message }) => `${level} ${message.text}`), [/^warning Could not read x/, /^warning Trace/, /^note Skipped y/])
})

t.test('without an address of the documents, SARIF has no help address that is none', async (t) => {
  const log = JSON.parse(write(createSarifOutput({ maxFindings: 1 }), [], nothing)) as Log // as above

  t.ok(log.runs[0]?.tool.driver.rules?.every(({ helpUri, help }) => helpUri === undefined && help?.text.includes('docs/rules/CTX') === true))
})

interface Element { readonly name: string, readonly attributes: Readonly<Record<string, string>>, text: string }

/** Throws where it is not well-formed. */
function parseXml (xml: string): readonly Element[] {
  const elements: Element[] = []
  const parser = new SaxesParser()
  parser.on('error', (error) => { throw error })
  parser.on('opentag', ({ name, attributes }) => { elements.push({ name, attributes, text: '' }) })
  parser.on('text', (text) => { const last = elements.at(-1); if (last !== undefined) last.text += text })
  parser.write(xml).close()
  return elements
}

t.test('JUnit has a case for each rule and one for whether everything could be checked', async (t) => {
  const { reports, outcome: given } = outcome()

  const elements = parseXml(write(createJunitOutput(options), reports, given))

  t.same(elements.filter(({ name }) => name === 'testcase').map(({ attributes }) => attributes['name']?.split(' ')[0]), [...ruleIds, 'everything'])
  t.match(elements[0], { name: 'testsuites', attributes: { tests: '11', failures: '1', errors: '1' } })
  t.match(elements.filter(({ name }) => name === 'failure'), [{ attributes: { type: 'CTX004' }, text: /alice.*mal<&>"'\ufffd.*lory.*last right at engine/s }])
  t.match(elements.filter(({ name }) => name === 'error'), [{ text: /Could not read x\nTrace/ }])
})

// kill: in escapeXml, leave what XML does not allow.
t.test('whatever spans and sources say, JUnit is well-formed', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 30 })
  fc.assert(fc.property(text, text, fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 10 }), (user, problem, units) => {
    const { reports, report } = threeTraces(`x${user}${String.fromCharCode(...units)}`)

    parseXml(write(createJunitOutput(options), reports, { report, problems: [`${problem}]]>${String.fromCharCode(...units)}`], notes: [], exitCode: 1 }))
  }), { numRuns: 300 })
})

t.test('every format tells how many findings it leaves out', async (t) => {
  const { reports: [, wrong], outcome: given } = outcome()
  if (wrong === undefined) throw new Error('There is a trace with a finding')
  const many = Array.from({ length: 7 }, () => wrong)
  const bounded = { ...options, maxFindings: 3 }

  const json = JSON.parse(write(createJsonOutput({ ...bounded, isVerbose: false }), many, given)) as JsonReport // checked above
  const sarif = JSON.parse(write(createSarifOutput(bounded), many, given)) as Log // checked above
  const junit = parseXml(write(createJunitOutput(bounded), many, given))

  t.same([json.findings.length, json.moreFindings, json.counts.findings, json.traces.length], [3, 4, 7, 3])
  t.equal(sarif.runs[0]?.results?.length, 3)
  t.ok(JSON.stringify(sarif).includes('4 more findings are not listed'))
  t.match(junit.find(({ name }) => name === 'failure'), { attributes: { message: /^7 findings/ }, text: /… and 4 more\s*$/ })
})
