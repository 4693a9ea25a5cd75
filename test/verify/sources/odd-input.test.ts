import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { readDocument } from '../../../verify/sources/document.ts'
import { readSpanFile } from '../../../verify/sources/span-file.ts'
import type { Span } from '../../../verify/span.ts'
import { verify } from '../../../verify/verify.ts'
import { makeTrace } from '../../support/made-trace.ts'
import { allSpans, framed, hear, inPieces, toOtlpJson, toOtlpProtobuf, type Heard } from '../../support/span-files.ts'

async function read (bytes: Buffer, size = 4096): Promise<{ readonly spans: readonly Span[], readonly heard: Heard }> {
  const heard = hear()
  const spans = await allSpans(readSpanFile(inPieces(bytes, size), { name: 'it', notices: heard }))
  return { spans, heard }
}

const traces = ['a', 'b', 'c'].map((seed) => makeTrace({ seed, tools: 0 }))
const protobuf = traces.map(toOtlpProtobuf)
const lines = Buffer.from(traces.map((trace) => `${toOtlpJson(trace).toString()}\n`).join(''))
const total = traces.flat().length

const files: Readonly<Record<string, Buffer>> = {
  lines,
  message: toOtlpProtobuf(traces.flat()),
  messages: framed(protobuf),
  compressed: framed(protobuf.map((message) => zstdCompressSync(message))),
  gzip: gzipSync(lines),
  zstd: zstdCompressSync(lines)
}
const file = fc.constantFrom(...Object.keys(files)).map((name) => ({ name, bytes: files[name] ?? Buffer.alloc(0) }))

t.test('whatever bytes there are, nothing is thrown, and what is no trace is said', async () => {
  const beginnings = ['', '{', '{"resourceSpans":[', '\n', '\x1f\x8b', '\x28\xb5\x2f\xfd', '\0\0\0\x05\n', '\0\0\0\x09\x28\xb5\x2f\xfd', '\n\x20\n\x05']
  await fc.assert(fc.asyncProperty(fc.constantFrom(...beginnings), fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.integer({ min: 1, max: 50 }), async (beginning, rest, size) => {
    const { spans, heard } = await read(Buffer.concat([Buffer.from(beginning, 'latin1'), rest]), size)

    return spans.length === 0 && heard.problems.length + heard.notes.length > 0
      // Random bytes may be whole fields that are not known, or a blank line.
      || heard.problems.length + heard.notes.length === 0 && spans.length === 0 && (rest.length < 20 || beginning.includes('\n'))
  }), { numRuns: 2000 })
})

// kill: in spansOfLine, do not count the lines that are broken.
t.test('whatever is cut off a file is said, unless it ends between two messages', async () => {
  const boundaries: Readonly<Record<string, readonly number[]>> = {
    lines: boundariesOf(lines, (byte) => byte === 0x0a),
    messages: framedBoundaries(protobuf),
    compressed: framedBoundaries(protobuf.map((message) => zstdCompressSync(message)))
  }
  await fc.assert(fc.asyncProperty(file, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), async ({ name, bytes }, share) => {
    const length = Math.floor(bytes.length * share)

    const { spans, heard } = await read(bytes.subarray(0, length))

    return heard.problems.length > 0 || length === 0 || (boundaries[name] ?? []).includes(length) || spans.length === total
  }), { numRuns: 2000 })
})

t.test('whatever bytes of a file are changed, nothing is thrown, and no span is lost in silence', async () => {
  const change = fc.record({ at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), byte: fc.integer({ min: 0, max: 255 }) })
  const framedFile = file.filter(({ name }) => name === 'gzip' || name === 'zstd' || name === 'compressed')
  await fc.assert(fc.asyncProperty(framedFile, fc.array(change, { minLength: 1, maxLength: 3 }), async ({ bytes }, changes) => {
    const changed = Buffer.from(bytes)
    for (const { at, byte } of changes) changed[Math.floor(at * bytes.length)] = byte

    const { spans, heard } = await read(changed)
    verify(spans)

    // Only what is compressed is known to be whole; a length in front of it may join or leave out messages.
    return spans.length === total || heard.problems.length > 0
  }), { numRuns: 1000 })
  await fc.assert(fc.asyncProperty(file, fc.array(change, { minLength: 1, maxLength: 5 }), async ({ bytes }, changes) => {
    const changed = Buffer.from(bytes)
    for (const { at, byte } of changes) changed[Math.floor(at * bytes.length)] = byte

    const { spans } = await read(changed)
    verify(spans)
  }), { numRuns: 1000 })
})

t.test('whatever JSON is in the places of a document, it is read as far as it goes, and can be verified', async () => {
  const odd = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 8 }, fc.jsonValue({ maxDepth: 2 }), fc.array(tie('value'), { maxLength: 3 }), fc.dictionary(fc.constantFrom(
      'resourceSpans', 'scopeSpans', 'spans', 'resource', 'attributes', 'key', 'value', 'stringValue', 'intValue', 'arrayValue', 'kvlistValue', 'values', 'traceId', 'spanId',
      'links', 'status', 'code', 'startTimeUnixNano', 'data', 'traceID', 'spanID', 'processes', 'processID', 'references', 'refType', 'tags', 'startTime', 'duration',
      'result', 'error', 'errors', '__proto__'
    ), tie('value'), { maxKeys: 6 }))
  })).value
  const hexadecimal = (length: number): fc.Arbitrary<string> => fc.constantFrom('a'.repeat(length), 'B'.repeat(length), '0'.repeat(length), 'a', '')
  const span = fc.record({ traceId: hexadecimal(32), spanId: hexadecimal(16), attributes: odd, links: odd, status: odd, kind: odd, name: odd, startTimeUnixNano: odd }, { requiredKeys: [] })
  const jaeger = fc.record({ traceID: hexadecimal(32), spanID: hexadecimal(16), references: odd, tags: odd, processID: odd, startTime: odd, duration: odd }, { requiredKeys: [] })
  const document = fc.oneof(
    odd,
    fc.array(span, { maxLength: 4 }).map((spans) => ({ resourceSpans: [{ scopeSpans: [{ spans }] }] })),
    fc.array(jaeger, { maxLength: 4 }).map((spans) => ({ data: [{ traceID: 'a', spans, processes: {} }] }))
  )
  fc.assert(fc.property(document, (given) => {
    const found = { spans: [], invalid: 0 }

    readDocument(given, found)

    verify(found.spans)
    return found.spans.every(({ traceId, spanId }: Span) => /^[0-9a-f]{32}$/.test(traceId) && /^[0-9a-f]{16}$/.test(spanId))
  }), { numRuns: 3000 })
})

t.test('a value that is nested without end is no end of the stack', async (t) => {
  const depth = 200_000
  const value = `${'{"arrayValue":{"values":['.repeat(depth)}${']}}'.repeat(depth)}`
  const line = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${'a'.repeat(32)}","spanId":"${'b'.repeat(16)}","attributes":[{"key":"a","value":${value}}]}]}]}]}`

  const { spans } = await read(Buffer.from(line), 65_536)
  const results = await read(Buffer.from(`${'{"result":'.repeat(depth)}{}${'}'.repeat(depth)}`), 65_536)

  t.ok(spans.length <= 1)
  t.equal(results.spans.length, 0)
  t.equal(results.heard.problems.length, 1)
})

function boundariesOf (bytes: Buffer, isEnd: (byte: number) => boolean): readonly number[] {
  return [...bytes.entries()].flatMap(([index, byte]) => isEnd(byte) ? [index, index + 1] : [])
}

function framedBoundaries (messages: readonly Buffer[]): readonly number[] {
  return messages.map((_message, index) => framed(messages.slice(0, index + 1)).length)
}
