import { open } from 'node:fs/promises'
import { makeTrace } from '../../test/support/made-trace.ts'
import type { AttributeValue, Span } from '../../verify/span.ts'

/** As many traces lie one in the other as a busy service works on at once. */
const atOnce = 1_000
/** Spans in one of the collector's batches, which is one line. */
const batch = 200

/**
 * Writes traces of 20 spans each, `count` spans in all and one trace in the other, as the collector's `file` exporter does: a batch in OTLP's JSON
 * on each line.
 */
export async function writeSpanFile (path: string, count: number): Promise<void> {
  const file = await open(path, 'w')
  try {
    for (let first = 0; first * 20 < count; first += atOnce) {
      const traces = Array.from({ length: Math.min(atOnce, count / 20 - first) }, (_, index) =>
        makeTrace({ seed: String(first + index), user: `user-${index % 100}`, thread: `thread-${first + index}` }))
      const spans = Array.from({ length: 20 }, (_, place) => traces.flatMap((trace) => trace[place] ?? [])).flat()
      for (let from = 0; from < spans.length; from += batch) await file.appendFile(`${lineOf(spans.slice(from, from + batch))}\n`)
    }
  } finally {
    await file.close()
  }
}

function lineOf (spans: readonly Span[]): string {
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'threadline' } }] }
  return JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'threadline' }, spans: spans.map(toOtlp) }] }] })
}

const kinds = { unspecified: 0, internal: 1, server: 2, client: 3, producer: 4, consumer: 5 }

function toOtlp ({ traceId, spanId, parentSpanId = '', name, kind, startedAt, endedAt = startedAt, attributes }: Span) {
  return {
    traceId,
    spanId,
    parentSpanId,
    name,
    kind: kinds[kind],
    startTimeUnixNano: `${startedAt}000`,
    endTimeUnixNano: `${endedAt}000`,
    attributes: Object.entries(attributes).map(([key, value]) => ({ key, value: valueOf(value) })),
    status: {}
  }
}

function valueOf (value: AttributeValue) {
  if (typeof value === 'number') return { intValue: String(value) }
  return typeof value === 'boolean' ? { boolValue: value } : { stringValue: String(value) }
}
