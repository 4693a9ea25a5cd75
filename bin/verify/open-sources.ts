import { addAbortSignal, type Readable } from 'node:stream'
import type { Profile } from '../../verify/profile.ts'
import { createJaegerQuery } from '../../verify/sources/jaeger-query.ts'
import { readJaegerTraces, searchJaeger } from '../../verify/sources/jaeger-source.ts'
import type { Notices } from '../../verify/sources/notices.ts'
import { readServiceRuns, readServiceThread } from '../../verify/sources/service-source.ts'
import { readSpanPath } from '../../verify/sources/span-directory.ts'
import { readSpanFile } from '../../verify/sources/span-file.ts'
import type { Span } from '../../verify/span.ts'
import { verifyTrace } from '../../verify/verify-trace.ts'
import type { NamedSource, VerifyCommand } from './verify-options.ts'

export interface OpenSourcesOptions {
  readonly command: VerifyCommand
  readonly profile: Profile
  readonly notices: Notices
  readonly signal: AbortSignal
  readonly stdin: Readable
  readonly token: string | undefined
}

/** In ms. */
const pollMs = 1000

/** The spans of all sources, one source after the other. One of several that has none is a problem: what others have would hide that. */
export async function * readSources (options: OpenSourcesOptions): AsyncGenerator<readonly Span[], void> {
  const { command: { sources }, notices, signal } = options
  for (const source of sources) {
    let isEmpty = true
    if (signal.aborted) return
    for await (const spans of readSource(source, options)) {
      if (spans.length > 0) isEmpty = false
      yield spans
    }
    if (isEmpty && sources.length > 1 && !signal.aborted) notices.problem(`No trace was found in ${nameOf(source)}`)
  }
}

function nameOf (source: NamedSource): string {
  return source.kind !== 'path' ? source.url : source.path === '-' ? 'the standard input' : source.path
}

function readSource (source: NamedSource, options: OpenSourcesOptions): AsyncGenerator<readonly Span[], void> {
  const { command: { waitMs, timeoutMs }, notices, signal, stdin, token, profile } = options
  const settling = { isSettled: isSettledBy(options), waitMs, pollMs, signal }
  switch (source.kind) {
    case 'path':
      return source.path === '-' ? readSpanFile(addAbortSignal(signal, stdin), { name: 'the standard input', notices }) : readSpanPath(source.path, notices, signal)
    case 'jaeger': {
      const { url, api, headers, what } = source
      const query = createJaegerQuery({ url, api, headers, timeoutMs, notices, signal })
      const reading = { ...settling, name: url, notices }
      if ('traceIds' in what) return readJaegerTraces(query, what.traceIds, reading)
      const { user, thread, ...window } = what
      const { attributes } = profile
      const wanted = { ...user === undefined ? {} : { [attributes.user]: user }, ...thread === undefined ? {} : { [attributes.thread]: thread } }
      return searchJaeger(query, { ...window, attributes: wanted }, reading)
    }
    case 'service': {
      const reading = { ...settling, url: source.url, token, timeoutMs, notices }
      return source.thread === undefined ? readServiceRuns(source.runs, reading) : readServiceThread(source.thread, source.runs, reading)
    }
  }
}

/** Whether there is nothing more to wait for: all is there, or it has been silent for so long that nothing more will come. */
function isSettledBy ({ command: { lateMs, openRunMs, waitMs }, profile }: OpenSourcesOptions): (spans: readonly Span[]) => boolean {
  return (spans) => {
    const lastMs = spans.reduce((last, { startedAt, endedAt }) => Math.max(last, startedAt, endedAt ?? 0), 0) / 1000
    if (Date.now() - lastMs > lateMs + waitMs) return true
    const traces = Map.groupBy(spans, ({ traceId }) => traceId)
    return [...traces.values()].every((trace) => verifyTrace(trace, { profile, lateMs, openRunMs }).incomplete.length === 0)
  }
}
