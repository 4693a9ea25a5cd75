import { currentIdentity, enterWithin } from './current-thread.ts'
import { createChildIdentity, type IdentityData } from './identity.ts'

/**
 * Runs `fn` as a request that serves the active one: same user, thread and run, a new request id, one level deeper. Throws
 * `THREADLINE_CONTEXT_TOO_DEEP` below ten levels and `THREADLINE_INVALID_CONTEXT` for a blank operation.
 */
export function childRequest<T> (operation: string, fn: () => T, data?: IdentityData): T {
  return enterWithin(createChildIdentity(currentIdentity(), operation, data), fn)
}
