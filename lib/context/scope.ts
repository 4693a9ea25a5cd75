import { context, createContextKey, diag } from '@opentelemetry/api'
import { ThreadlineError } from '../errors.ts'

const scopeKey = createContextKey('threadline.scope')

/**
 * Runs `body` in a scope of its own and, when it has ended in whatever way, what was given to `onLeave` in it: last added
 * first, each once, all of them even if some throw. The body's result or error reaches the caller; a failing cleanup is
 * reported to the diagnostics logger and never hides it.
 */
export async function withScope<T> (body: () => Promise<T>): Promise<T> {
  const stack = new AsyncDisposableStack()
  try {
    return await context.with(context.active().setValue(scopeKey, stack), body)
  } finally {
    await leave(stack)
  }
}

/** Adds a cleanup to the innermost scope. Throws `THREADLINE_NO_CONTEXT` outside of one, and when it has ended. */
export function onLeave (cleanup: () => void | Promise<void>): void {
  const stack = context.active().getValue(scopeKey)
  if (!(stack instanceof AsyncDisposableStack) || stack.disposed) {
    throw new ThreadlineError('THREADLINE_NO_CONTEXT', 'No scope is open here')
  }
  stack.defer(cleanup)
}

/** Ends the innermost scope early. Ending it again, also at the end of `withScope`, does nothing. */
export async function leaveScope (): Promise<void> {
  const stack = context.active().getValue(scopeKey)
  if (stack instanceof AsyncDisposableStack) await leave(stack)
}

async function leave (stack: AsyncDisposableStack): Promise<void> {
  try {
    await stack.disposeAsync()
  } catch (error) {
    diag.error('A cleanup of a scope failed', error)
  }
}
