import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'

let registered = false

/**
 * Registers the process's one context manager. Threadline does it itself, before any SDK, because an SDK that is switched
 * off (`OTEL_SDK_DISABLED=true`) would take the context manager, and with it every identity, away. Idempotent.
 * Throws when a foreign one is in place that does not keep context over `await`.
 */
export function registerContextManager (): void {
  if (registered) return
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  registered = true
}
