import { diag, DiagLogLevel, type DiagLogFunction } from '@opentelemetry/api'
import { getStringFromEnv, setGlobalErrorHandler } from '@opentelemetry/core'

/**
 * Writes what the SDK warns of to standard error, a JSON line each in pino's shape: there is no logger yet when it starts. With
 * `OTEL_LOG_LEVEL` the SDK's own output is left as it is.
 */
export function reportDiagnostics (): void {
  if (getStringFromEnv('OTEL_LOG_LEVEL') !== undefined) return
  diag.setLogger({ error: write(50), warn: write(40), info: ignore, debug: ignore, verbose: ignore }, DiagLogLevel.WARN)
  setGlobalErrorHandler((error) => { diag.error(typeof error === 'string' ? error : describe(error)) })
}

function write (level: number): DiagLogFunction {
  return (message, ...details) => {
    const msg = [message, ...details.map((detail) => detail instanceof Error ? describe(detail) : String(detail))].join(' ')
    process.stderr.write(`${JSON.stringify({ level, time: Date.now(), pid: process.pid, name: 'telemetry', msg })}\n`)
  }
}

function describe (error: { readonly message?: string, readonly name?: string, readonly code?: string | number }): string {
  // An AggregateError, which a refused connection is, has no message of its own.
  return error.message || String(error.code ?? error.name ?? 'unknown error')
}

function ignore (): void {}
