/** What `threadline/context` offers to code that is called for a user: who is served, and how to keep it so across boundaries. */
export { bindIterable, bindThread } from '../lib/context/bind.ts'
export { childRequest } from '../lib/context/child-request.ts'
export { currentIdentity, currentRun, currentThread, tryCurrentIdentity, tryCurrentThread } from '../lib/context/current-thread.ts'
export { guard, type Owner } from '../lib/context/guard.ts'
export type { Identity, IdentityData, RunIdentity, ThreadIdentity } from '../lib/context/identity.ts'
export { onLeave } from '../lib/context/scope.ts'
