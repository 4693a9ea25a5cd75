import { AsyncLocalStorage } from 'node:async_hooks'
import { context, createContextKey, ROOT_CONTEXT } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'

let registered = false

/**
 * Registers the process's one context manager. Threadline does it itself, before any SDK, because an SDK that is switched
 * off (`OTEL_SDK_DISABLED=true`) would take the context manager, and with it every identity, away. Idempotent.
 * Throws when a foreign one is in place that does not keep context over `await`.
 */
export function registerContextManager (): void {
  if (registered) return
  if (!context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()) && !keepsContext()) {
    throw new Error('A context manager is registered that does not keep context over await: every identity would be lost')
  }
  registered = true
}

/** Whether the registered manager's contexts go wherever AsyncLocalStorage goes. */
function keepsContext (): boolean {
  const probe = ROOT_CONTEXT.setValue(createContextKey('threadline.probe'), true)
  const resume = context.with(probe, () => AsyncLocalStorage.snapshot())
  return resume(() => context.active()) === probe
}
