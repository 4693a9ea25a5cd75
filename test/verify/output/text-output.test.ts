import { stripVTControlCharacters, styleText } from 'node:util'
import t from 'tap'
import { plain } from '../../../verify/output/paint.ts'
import { createTextOutput, type TextOptions } from '../../../verify/output/text-output.ts'
import { verifyTrace } from '../../../verify/verify-trace.ts'
import { verify } from '../../../verify/verify.ts'
import { makeTrace, muchLater } from '../../support/made-trace.ts'
import { threeTraces, write } from '../../support/verified-traces.ts'

const options: TextOptions = { maxFindings: 100, paint: plain, isVerbose: false }

t.test('a finding is shown below its hop, with where it was last right, between the hops before and after', async (t) => {
  const { reports, report } = threeTraces()

  const text = write(createTextOutput(options), reports, { report, problems: [], notes: [], exitCode: 1 })

  const lines = text.split('\n')
  const place = lines.findIndex((line) => line.includes('▲'))
  t.match(lines[0], /^✗ Trace [0-9a-f]{32} · 20 spans · 1 finding$/)
  t.match(lines[1], /^ +0\.0 ms {2}socket\.receive +user alice · thread thread-a · run run-crossed$/)
  t.match(lines[2], /^ +1\.0 ms {4}handler +user alice/)
  t.match(lines[place - 1], /^ {2}✗ +12\.0 ms +tool "execute_tool search" +user mallory · thread thread-a/)
  t.match(lines[place], /▲ CTX004 user changed: .*alice.*mallory/)
  t.match(lines.slice(place + 1, place + 4).join('\n'), /expected alice, seen mallory\n.*last right at engine \(span [0-9a-f]{16}\)\n.*docs\/rules\/CTX004\.md/)
  t.match(lines.find((line) => line.includes('engine "invoke_agent assistant"')), /^ {2}✓/, 'where it was last right is marked')
  t.match(lines[place + 4], /emitter/)
  t.match(text, /✗ 1 finding in 1 of 3 traces \(60 spans\)\n {4}CTX004 user changed: 1 · docs\/rules\/CTX004\.md\n/)
  t.match(text, /\? Not everything could be checked: 3 traces, 1 incomplete, 1 clean\n {4}Trace [0-9a-f]{32}: /)
})

t.test('clean traces are a number, or told hop by hop where it is asked for', async (t) => {
  const traces = ['a', 'b'].map((seed) => makeTrace({ seed }))
  const reports = traces.map((spans) => verifyTrace(spans, { nowMs: muchLater }))
  const outcome = { report: verify(traces.flat(), { nowMs: muchLater }), problems: [], notes: ['x.md is no trace file'], exitCode: 0 }

  const short = write(createTextOutput(options), reports, outcome)
  const verbose = write(createTextOutput({ ...options, isVerbose: true }), reports, outcome)

  t.equal(short, 'x.md is no trace file\n✓ 2 traces, 40 spans: identity was never lost and never crossed\n')
  t.equal(verbose.split('\n').filter((line) => /^✓ Trace [0-9a-f]{32} · 20 spans$/.test(line)).length, 2)
  t.equal(verbose.match(/^ +0\.0 ms {2}socket\.receive +user \S+ · thread \S+ · run /gm)?.length, 2)
  t.equal(verbose.match(/^ +12\.0 ms +tool "execute_tool search" +user \S+ · thread /gm)?.length, 2)
})

t.test('what could not be read is told, and nothing is called right then', async (t) => {
  const text = write(createTextOutput(options), [], {
    report: verify([]), problems: Array.from({ length: 30 }, (_item, index) => `Could not read file ${index}`), notes: [], exitCode: 2
  })

  t.match(text, /^\? Not everything could be checked: 0 traces, 0 incomplete, 0 clean\n {4}Could not read file 0\n/)
  t.match(text, /… and 10 more\n$/)
  t.notMatch(text, /never crossed/)
})

t.test('beyond the bound, findings are only counted', async (t) => {
  const { reports: [, wrong], report } = threeTraces()
  if (wrong === undefined) throw new Error('There is a trace with a finding')

  const text = write(createTextOutput({ ...options, maxFindings: 2 }), [wrong, wrong, wrong, wrong, wrong], { report, problems: [], notes: [], exitCode: 1 })

  t.equal(text.match(/▲/g)?.length, 2)
  t.match(text, /3 more findings not shown; --max-findings shows more\n✗ 5 findings in/)
  t.match(text, /CTX004 user changed: 5/)
})

t.test('of a very long trace, the beginning and what matters is shown', async (t) => {
  const spans = makeTrace({ tools: 100 }).map((span, index, all) => index === all.length - 20 ? { ...span, attributes: { ...span.attributes, 'user.id': 'mallory' } } : span)
  const report = verifyTrace(spans, { nowMs: muchLater })

  const text = write(createTextOutput(options), [report], { report: verify(spans, { nowMs: muchLater }), problems: [], notes: [], exitCode: 1 })

  t.ok(report.hops.length > 300)
  t.ok(text.split('\n').length < 120)
  t.match(text, /⋮ \d+ more/)
  t.match(text, /▲/)
})

// kill: in oneLine, leave what is unprintable.
t.test('nothing that a span says can draw on the terminal', async (t) => {
  const { reports, report } = threeTraces('mal\u001b[2J\u001b[31mlory\n✓ all is well\u202e\u0007')

  const text = write(createTextOutput({ ...options, paint: (style, line) => styleText(style, line, { validateStream: false }) }), reports, { report, problems: ['\u001b[2Jx'], notes: ['\u001b[2Jy'], exitCode: 1 })

  t.match(text, /\u001b\[31m/, 'its own colours are there')
  t.notMatch(stripVTControlCharacters(text.replaceAll(/\u001b\[\d+m/g, '')), /[\u0000-\u0009\u000b-\u001f\u202e]/)
  t.notMatch(text, /\u001b\[2J/)
  t.notMatch(text, /^✓ all is well/m)
})
