import { setTimeout as wait } from 'node:timers/promises'
import { logs, metrics, ProxyTracerProvider, trace } from '@opentelemetry/api'

export type FlushOutcome = 'flushed' | 'failed' | 'timed_out'

/**
 * Sends what the registered providers still hold, and waits for it no longer than `timeoutMs`. Never throws: without an SDK there is
 * nothing to send, and with the collector down nothing to be done about it.
 */
export async function flushTelemetry (timeoutMs: number): Promise<FlushOutcome> {
  const abandon = new AbortController()
  const flushed = flushProviders().then((): FlushOutcome => 'flushed', (): FlushOutcome => 'failed')
  const timedOut = wait(timeoutMs, 'timed_out' as const, { signal: abandon.signal })
  // Aborted below, when nobody waits for it any more.
  timedOut.catch(() => {})
  try {
    return await Promise.race([flushed, timedOut])
  } finally {
    abandon.abort()
  }
}

async function flushProviders (): Promise<void> {
  const tracers = trace.getTracerProvider()
  const spans = flushProvider(tracers instanceof ProxyTracerProvider ? tracers.getDelegate() : tracers)
  await Promise.allSettled([spans])
  // Afterwards, so that spans which the flush has lost are counted.
  await Promise.all([spans, flushProvider(metrics.getMeterProvider()), flushProvider(logs.getLoggerProvider())])
}

async function flushProvider (provider: object): Promise<void> {
  if (canFlush(provider)) await provider.forceFlush()
}

/** The API does not speak of flushing; the SDK's providers do it. */
function canFlush (provider: object): provider is { forceFlush: () => Promise<void> } {
  return 'forceFlush' in provider && typeof provider.forceFlush === 'function'
}
