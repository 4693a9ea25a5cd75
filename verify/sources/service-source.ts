import type { AttributeValue, Span } from '../span.ts'
import { fetchDocuments } from './fetch-documents.ts'
import { reasonOf, type Notices } from './notices.ts'
import { settleTraces, type SettleOptions } from './settle.ts'
import { isRecord, itemsOf, kindOf, setOwn, spanIdOf, traceIdOf } from './span-parts.ts'

export interface ServiceOptions extends SettleOptions {
  /** Where it listens, as `http://host:port`. */
  readonly url: string
  /** A token of the user whose runs they are. */
  readonly token: string | undefined
  /** In ms, for each request. */
  readonly timeoutMs: number
  readonly notices: Notices
}

/** What the service has told of a run: its spans, and what it says is wrong or was not seen. */
interface ToldRun { readonly spans: readonly Span[], readonly reasons: readonly string[] }

/** How many runs of a thread are looked at, the newest first. */
const maxRuns = 200

/**
 * The spans that a running service has seen of runs, each run settled. Its own verdict is not trusted: the spans are for the caller to judge. What it
 * reports that no span shows is a problem, and so is what it says it has not seen. It never throws.
 */
export async function * readServiceRuns (runIds: readonly string[], options: ServiceOptions): AsyncGenerator<readonly Span[], void> {
  const { url, notices } = options
  const reasons = new Map<string, readonly string[]>()
  const read = async (runId: string): Promise<readonly Span[] | undefined> => {
    const run = toldRun(await ask(`v1/runs/${encodeURIComponent(runId)}/isolation`, options))
    reasons.set(runId, run.reasons)
    return run.spans.length === 0 ? undefined : run.spans
  }
  for (const runId of runIds) {
    if (options.signal?.aborted === true) return
    try {
      const first = new Map([[runId, await read(runId)]])
      for await (const [, spans] of settleTraces(first, read, options)) {
        if (spans === undefined) notices.problem(`Could not check run ${runId}: ${url} has no spans of it`)
        else yield spans
      }
    } catch (error) {
      notices.problem(`Could not read run ${runId} from ${url}: ${reasonOf(error)}`)
    }
    for (const reason of reasons.get(runId) ?? []) notices.problem(`Run ${runId}: ${reason}`)
  }
}

/** The same for the newest runs of a thread, besides those that are named. */
export async function * readServiceThread (
  threadId: string, named: readonly string[], options: ServiceOptions
): AsyncGenerator<readonly Span[], void> {
  const { url, notices } = options
  const runIds: string[] = []
  try {
    for (let before: string | undefined, hasMore = true; hasMore;) {
      const query = before === undefined ? '' : `&before=${encodeURIComponent(before)}`
      const page = await ask(`v1/threads/${encodeURIComponent(threadId)}/runs?limit=100${query}`, options)
      const ids = itemsOf(page['runs']).flatMap((run) => isRecord(run) && typeof run['run_id'] === 'string' ? [run['run_id']] : [])
      runIds.push(...ids)
      before = ids.at(-1)
      hasMore = page['has_more'] === true && before !== undefined
      if (hasMore && runIds.length >= maxRuns) {
        notices.problem(`Could not read all runs of thread ${threadId}: only the last ${runIds.length} were looked at`)
        break
      }
    }
  } catch (error) {
    notices.problem(`Could not read the runs of thread ${threadId} from ${url}: ${reasonOf(error)}`)
  }
  yield * readServiceRuns([...new Set([...named, ...runIds])], options)
}

async function ask (path: string, { url, token, timeoutMs, signal }: ServiceOptions): Promise<Readonly<Record<string, unknown>>> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const { status, documents: [document] } = await fetchDocuments(new URL(path, url.endsWith('/') ? url : `${url}/`), { headers, timeoutMs, signal })
  if (status === 200 && isRecord(document)) return document
  const error = isRecord(document) && isRecord(document['error']) ? document['error'] : {}
  const told = typeof error['message'] === 'string' ? `: ${error['message'].slice(0, 200)}` : ''
  throw new Error(`${status} was answered${told}${status === 401 ? '; THREADLINE_TOKEN holds the token of the run\'s user' : ''}`)
}

function toldRun (told: Readonly<Record<string, unknown>>): ToldRun {
  const items = itemsOf(told['spans'])
  const spans = items.flatMap((item) => readSpan(item) ?? [])
  const reasons = itemsOf(told['incomplete']).filter((reason) => typeof reason === 'string')
  if (spans.length < items.length) reasons.push(`${items.length - spans.length} of its spans have no valid ids`)
  for (const finding of itemsOf(told['findings'])) {
    // What is told of a span is seen in the span.
    if (isRecord(finding) && typeof finding['span_id'] !== 'string') reasons.push(`the service reports: ${String(finding['message'])}`)
  }
  const violations = itemsOf(told['violations']).length
  if (violations > 0) reasons.push(`the service has refused ${violations} uses of another identity in it`)
  return { spans, reasons }
}

function readSpan (item: unknown): Span | undefined {
  if (!isRecord(item)) return undefined
  const traceId = traceIdOf(item['trace_id'])
  const spanId = spanIdOf(item['span_id'])
  if (traceId === undefined || spanId === undefined) return undefined
  const attributes: Record<string, AttributeValue> = {}
  for (const [name, value] of Object.entries(isRecord(item['attributes']) ? item['attributes'] : {})) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') setOwn(attributes, name, value)
  }
  return {
    traceId,
    spanId,
    parentSpanId: spanIdOf(item['parent_span_id']),
    name: typeof item['name'] === 'string' ? item['name'] : '',
    kind: kindOf(item['kind']),
    startedAt: typeof item['started_at'] === 'number' ? item['started_at'] : 0,
    endedAt: typeof item['ended_at'] === 'number' ? item['ended_at'] : undefined,
    failed: item['failed'] === true,
    attributes,
    links: []
  }
}
