import { counted } from '../counted.ts'
import type { Span } from '../span.ts'
import { readDocument } from './document.ts'
import { fetchDocuments, type FetchedDocuments } from './fetch-documents.ts'
import type { Notices } from './notices.ts'
import type { FoundSpans } from './otlp-json.ts'

export type JaegerApi = 'v1' | 'v3'

export interface JaegerOptions {
  /** Where its page is, with its base path if it has one. */
  readonly url: string
  readonly api: JaegerApi
  readonly headers?: Readonly<Record<string, string>>
  /** In ms, for each request. */
  readonly timeoutMs: number
  readonly notices: Notices
  readonly signal?: AbortSignal
}

export interface JaegerSearch {
  readonly service: string
  /** In ms since 1970, both included. */
  readonly startMs: number
  readonly endMs: number
  /** What a span of the trace has to carry. */
  readonly attributes: Readonly<Record<string, string>>
  /** How many traces are asked for at once, at most. */
  readonly limit: number
}

export interface JaegerQuery {
  /** The spans of a trace; undefined where there is none, or none yet. Rejects with a reason that continues "could not read …:". */
  trace (traceId: string): Promise<readonly Span[] | undefined>
  /** The traces that have spans of the service in the window, and whether there may be more of them than were asked for. Rejects likewise. */
  find (search: JaegerSearch): Promise<{ readonly spans: readonly Span[], readonly isFull: boolean }>
}

/** Asks Jaeger's query API over HTTP, the first (its own JSON) or the third (OTLP), without its corrections of clocks. */
export function createJaegerQuery ({ url, api, headers, timeoutMs, notices, signal }: JaegerOptions): JaegerQuery {
  const base = url.endsWith('/') ? url : `${url}/`

  async function ask (path: string, parameters: Readonly<Record<string, string>>): Promise<readonly Span[] | undefined> {
    const target = new URL(path, base)
    for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value)
    const answer = await fetchDocuments(target, { headers, timeoutMs, signal })
    return spansOfAnswer(answer, (sentence) => { notices.problem(`Could not read all of ${base}: ${sentence}`) })
  }

  return {
    trace: async (traceId) => api === 'v1'
      ? await ask(`api/traces/${traceId}`, { raw: 'true' })
      : await ask(`api/v3/traces/${traceId}`, { raw_traces: 'true' }),
    find: async (search) => {
      const [path, parameters] = api === 'v1' ? ['api/traces', firstApi(search)] as const : ['api/v3/traces', thirdApi(search)] as const
      const spans = await ask(path, parameters) ?? []
      const isFull = new Set(spans.map(({ traceId }) => traceId)).size >= search.limit
      // Some versions pass over `query.attributes`, and count what they should have left out.
      return { spans: api === 'v1' ? spans : keepTraces(spans, search.attributes), isFull }
    }
  }
}

function firstApi ({ service, startMs, endMs, attributes, limit }: JaegerSearch): Readonly<Record<string, string>> {
  const tags = Object.keys(attributes).length === 0 ? {} : { tags: JSON.stringify(attributes) }
  return { service, start: String(startMs * 1000), end: String(endMs * 1000), limit: String(limit), raw: 'true', ...tags }
}

function thirdApi ({ service, startMs, endMs, attributes, limit }: JaegerSearch): Readonly<Record<string, string>> {
  return {
    'query.service_name': service,
    'query.start_time_min': new Date(startMs).toISOString(),
    'query.start_time_max': new Date(endMs).toISOString(),
    'query.num_traces': String(limit),
    'query.raw_traces': 'true',
    ...(Object.keys(attributes).length === 0 ? {} : { 'query.attributes': JSON.stringify(attributes) })
  }
}

function keepTraces (spans: readonly Span[], attributes: Readonly<Record<string, string>>): readonly Span[] {
  const wanted = Object.entries(attributes)
  if (wanted.length === 0) return spans
  const traces = spans.filter((span) => wanted.every(([name, value]) => span.attributes[name] === value)).map(({ traceId }) => traceId)
  const kept = new Set(traces)
  return spans.filter(({ traceId }) => kept.has(traceId))
}

/** Nothing found is 404 in both APIs, with JSON that says so; a 404 of somebody else is no JSON, and was refused before. */
function spansOfAnswer ({ status, documents }: FetchedDocuments, tell: (sentence: string) => void): readonly Span[] | undefined {
  const found: FoundSpans = { spans: [], invalid: 0 }
  const kinds = documents.map((document) => readDocument(document, found))
  const wrong = kinds.find((kind) => kind.kind === 'error')
  if (status === 404 && wrong !== undefined) return undefined
  if (status !== 200) throw new Error(`${status} was answered${wrong === undefined ? '' : `: ${wrong.message}`}`)
  if (wrong !== undefined && found.spans.length === 0) throw new Error(wrong.message)
  if (kinds.some(({ kind }) => kind === 'unknown' || kind === 'other-signal')) throw new Error('the answer is none of Jaeger')
  if (wrong !== undefined) tell(wrong.message)
  if (found.invalid > 0) tell(`${counted(found.invalid, 'span')} without valid ids`)
  return found.spans
}
