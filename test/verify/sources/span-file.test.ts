import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { readSpanFile } from '../../../verify/sources/span-file.ts'
import type { Span } from '../../../verify/span.ts'
import { makeTrace } from '../../support/made-trace.ts'
import { allSpans, framed, hear, inOrder, inPieces, toOtlpJson, toOtlpProtobuf } from '../../support/span-files.ts'

const fixtures = join(import.meta.dirname, '../../fixtures/span-sources')

/** One that has everything that a span can have. */
const rich: Span = {
  traceId: 'ab'.repeat(16),
  spanId: 'cd'.repeat(8),
  parentSpanId: 'ef'.repeat(8),
  name: 'näme "quoted"\n',
  kind: 'producer',
  startedAt: 1_795_385_351_675_123,
  endedAt: 1_795_385_351_676_456,
  failed: true,
  attributes: { text: 'täxt', yes: true, no: false, whole: -12, part: 0.5, list: ['a', 'b'], numbers: [1, 2] },
  links: [{ traceId: '12'.repeat(16), spanId: '34'.repeat(8) }],
  service: 'shop'
}
const first = [...makeTrace({ seed: 'first' }), rich]
const second = makeTrace({ seed: 'second', user: 'bob' })
const spans = inOrder([...first, ...second])
const json = [first, second].map(toOtlpJson)
const protobuf = [first, second].map(toOtlpProtobuf)
const lines = Buffer.concat(json.flatMap((line) => [line, Buffer.from('\n')]))

const whole: Readonly<Record<string, Buffer>> = {
  'one JSON document': toOtlpJson([...first, ...second]),
  'one JSON document over many lines': Buffer.from(JSON.stringify(JSON.parse(toOtlpJson([...first, ...second]).toString()), null, 2)),
  'one over many lines with a byte order mark and blank lines': Buffer.from(`\ufeff\n\n${JSON.stringify(JSON.parse(toOtlpJson([...first, ...second]).toString()), null, 2)}\n`),
  'JSON lines': lines,
  'JSON lines without the last line break': lines.subarray(0, -1),
  'JSON lines of Windows': Buffer.from(lines.toString().replaceAll('\n', '\r\n')),
  'one protobuf message': toOtlpProtobuf([...first, ...second]),
  'framed protobuf': framed(protobuf),
  'framed protobuf, each in zstd': framed(protobuf.map((message) => zstdCompressSync(message))),
  'framed JSON, each in zstd': framed(json.map((message) => zstdCompressSync(message))),
  'JSON lines in gzip': gzipSync(lines),
  'JSON lines in two members of gzip': Buffer.concat([gzipSync(lines.subarray(0, 500)), gzipSync(lines.subarray(500))]),
  // Node's decompressor alone would end after the first: the kill is to read all from one createZstdDecompress().
  'JSON lines in two frames of zstd': Buffer.concat([zstdCompressSync(lines.subarray(0, 500)), zstdCompressSync(lines.subarray(500))]),
  'framed protobuf in zstd as a whole': zstdCompressSync(framed(protobuf))
}

t.test('what the exporters write is read as it was, in pieces of any size', async (t) => {
  for (const [format, bytes] of Object.entries(whole)) {
    for (const size of [7, 100_000]) {
      const heard = hear()

      const read = await allSpans(readSpanFile(inPieces(bytes, size), { name: 'it', notices: heard }))

      t.same(inOrder(read), spans, `${format}, in pieces of ${size}`)
      t.same([...heard.problems, ...heard.notes], [], format)
    }
  }
})

t.test('all that the collector\'s file exporter can write holds the same spans', async (t) => {
  const read = async (file: string): Promise<readonly Span[]> => {
    const heard = hear()
    const found = inOrder(await allSpans(readSpanFile(createReadStream(join(fixtures, file)), { name: file, notices: heard })))
    t.same(heard.problems, [], file)
    return found
  }
  const expected = await read('collector/traces.json')
  const native = await read('collector-native/traces.json.zst')

  t.equal(expected.length, 34)
  t.equal(native.length, 34)
  t.match(expected.find(({ name }) => name === 'socket.receive'), { kind: 'server', service: 'threadline', attributes: { 'user.id': /^alice|bob$/ } })
  for (const file of ['traces.json.zst', 'traces.pb', 'traces.pb.zst']) t.same(await read(`collector/${file}`), expected, file)
  t.same(await read('collector-native/traces.pb.zst'), native)
})

t.test('what one of OTLP\'s writers may do differently is understood', async (t) => {
  const given = {
    resourceSpans: [{
      scopeSpans: [{
        spans: [{
          traceId: 'AB'.repeat(16),
          spanId: 'CD'.repeat(8),
          parentSpanId: '',
          kind: 'SPAN_KIND_CLIENT',
          startTimeUnixNano: 1_795_385_351_675_000_000,
          endTimeUnixNano: '0',
          status: { code: 'STATUS_CODE_ERROR' },
          attributes: [
            { key: 'number', value: { intValue: 5 } },
            { key: 'text', value: { intValue: '5' } },
            { key: 'huge', value: { intValue: '9223372036854775807' } },
            { key: 'nested', value: { kvlistValue: { values: [{ key: 'a', value: { arrayValue: { values: [{ boolValue: true }] } } }] } } },
            { key: 'bytes', value: { bytesValue: 'AAE=' } },
            { key: '__proto__', value: { arrayValue: { values: [] } } },
            { key: 'nothing', value: {} }
          ]
        }]
      }]
    }]
  }

  const [span] = await allSpans(readSpanFile(inPieces(Buffer.from(JSON.stringify(given)), 1000), { name: 'it', notices: hear() }))

  t.same(span, {
    traceId: 'ab'.repeat(16),
    spanId: 'cd'.repeat(8),
    parentSpanId: undefined,
    name: '',
    kind: 'client',
    startedAt: 1_795_385_351_675_000,
    endedAt: undefined,
    failed: true,
    attributes: { number: 5, text: 5, huge: '9223372036854775807', nested: '{"a":[true]}', bytes: 'AAE=' },
    links: [],
    service: undefined
  })
})

t.test('what cannot be read is said, and the rest is read', async (t) => {
  const [line = ''] = lines.toString().split('\n')
  const [message = Buffer.alloc(0)] = protobuf
  const strange = Buffer.from(message)
  strange[1] = 0xff
  const withoutIds = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [{ traceId: 'x' }, { traceId: '0'.repeat(32), spanId: 'a'.repeat(16) }] }] }] })
  const cases: readonly (readonly [title: string, bytes: Buffer, spans: number, problem: RegExp])[] = [
    ['a cut line between two', Buffer.from(`${line}\n${line.slice(0, -5)}\n${line}`), 2 * first.length, /1 line of it: line 2 is no complete JSON$/],
    ['a cut first line', Buffer.from(`${line.slice(0, line.indexOf('{', 40) + 1)}\n${line}\n`), first.length, /1 line of it: line 1 is no complete JSON$/],
    ['a cut last line', lines.subarray(0, -20), first.length, /1 line of it: line 2 is/],
    ['spans without ids', Buffer.from(`${withoutIds}\n${line}`), first.length, /2 spans of it: without valid ids/],
    ['spans as OTLP 0.18 wrote them', Buffer.from(`${line.replaceAll('scopeSpans', 'instrumentationLibrarySpans')}\n${line}`), first.length, /of it: without valid ids, or not where they have to be/],
    ['spans as protobuf names them', Buffer.from(`${line.replaceAll('scopeSpans', 'scope_spans')}\n${line}`), first.length, /not where they have to be/],
    ['spans that are no list', Buffer.from(`{"resourceSpans":[1,{"scopeSpans":{}},{"scopeSpans":[2,{"spans":"none"}]}]}\n${line}`), first.length, /4 spans of it: .*not where they have to be/],
    ['JSON of something else', Buffer.from('{"name":"threadline"}'), 0, /JSON, but neither OTLP's nor Jaeger's/],
    ['a list', Buffer.from('[1,2]'), 0, /JSON, but neither/],
    ['text', Buffer.from('hello'), 0, /neither JSON nor protobuf/],
    ['a message that is cut off', framed(protobuf).subarray(0, -10), first.length, /to its end: message 2 is cut off, \d+ of \d+ bytes are there/],
    ['a length that is cut off', Buffer.concat([framed([message]), Buffer.from([0, 0])]), first.length, /to its end: message 2 is cut off/],
    ['a length of gigabytes', Buffer.concat([framed([message]), Buffer.from([0x3f, 0xff, 0xff, 0xff, 0x0a])]), first.length, /further: message 2 claims to have 1073741823 bytes/],
    ['a damaged message between two', framed([message, strange, message]), 2 * first.length, /message 2 of it: a length goes beyond its message/],
    ['gzip that is cut off', gzipSync(lines).subarray(0, -20), first.length, /its compressed data is cut off/],
    ['zstd that is cut off', zstdCompressSync(lines).subarray(0, -20), 0, /its compressed data is cut off/],
    ['zstd with something behind it', Buffer.concat([zstdCompressSync(lines), Buffer.from('something')]), spans.length, /Could not read it/],
    ['compressed twice', gzipSync(gzipSync(lines)), 0, /compressed twice/]
  ]
  for (const [title, bytes, count, problem] of cases) {
    const heard = hear()

    const read = await allSpans(readSpanFile(inPieces(bytes, 300), { name: 'it', notices: heard }))

    t.ok(read.length <= count && (title.includes('zip') || read.length === count), `${title}: ${read.length} of ${count}`)
    t.match(heard.problems, [problem], title)
  }
})

t.test('nothing of a line that could not be read is shown', async (t) => {
  const heard = hear()

  await allSpans(readSpanFile(inPieces(Buffer.from('{"resourceSpans": secret-token }'), 100), { name: 'it', notices: heard }))

  t.same(heard.problems, ['Could not read 1 line of it: line 1 is no complete JSON'])
})

t.test('logs beside traces, and empty files, are only noted', async (t) => {
  const logs = '{"resourceLogs":[]}\n{"resourceMetrics":[]}\n{}\n'
  const heard = hear()

  await allSpans(readSpanFile(inPieces(Buffer.from(logs), 100), { name: 'logs', notices: heard }))
  await allSpans(readSpanFile(inPieces(Buffer.alloc(0), 100), { name: 'nothing', notices: heard }))

  t.same(heard.problems, [])
  t.same(heard.notes, ['Skipped logs, metrics or profiles in logs', 'nothing is empty'])
})

t.test('an error of the source is a problem, and not thrown', async (t) => {
  const heard = hear()
  async function * broken (): AsyncGenerator<Buffer, void> {
    yield lines.subarray(0, -1)
    throw Object.assign(new Error('EIO'), { code: 'EIO' })
  }

  const read = await allSpans(readSpanFile(broken(), { name: 'it', notices: heard }))

  t.equal(read.length, first.length, 'the line that was whole')
  t.same(heard.problems, ['Could not read it: EIO'])
})
