import {
  context, createContextKey, propagation, ROOT_CONTEXT, trace,
  type Context, type Span, type SpanContext
} from '@opentelemetry/api'
import { ThreadlineError } from '../errors.ts'
import { attributes } from './attributes.ts'
import { registerContextManager } from './context-manager.ts'
import { IdentityBaggage } from './identity-baggage.ts'
import type { Identity, RunIdentity, ThreadIdentity } from './identity.ts'

registerContextManager()

const identityKey = createContextKey('threadline.identity')

/** Where the work that is entered hangs in a trace: below a live span, below another process's span, or at a new root. */
export interface EnterOptions {
  readonly parent?: Span | SpanContext | undefined
}

/**
 * Runs `fn` as work for `identity`: the only way in, used where a socket's frame, an authenticated HTTP request, a run from the
 * queue or an event from the log arrives. The context is built from nothing: whatever was active before, and whatever
 * baggage a client sent, is not in it.
 */
export function enterThread<T> (identity: Identity, fn: () => T, options: EnterOptions = {}): T {
  return context.with(withParent(contextOf(identity, ROOT_CONTEXT), options.parent), fn)
}

/** Runs `fn` for a narrower identity of the same user within the active trace; see `childRequest`. */
export function enterWithin<T> (identity: Identity, fn: () => T): T {
  const active = tryCurrentIdentity()
  if (active?.userId !== identity.userId) throw new ThreadlineError('THREADLINE_CONTEXT_MISMATCH')
  return context.with(contextOf(identity, context.active()), fn)
}

/** The active identity, with or without a thread. Throws `THREADLINE_NO_CONTEXT` outside. */
export function currentIdentity (): Identity {
  const identity = tryCurrentIdentity()
  if (identity === undefined) throw new ThreadlineError('THREADLINE_NO_CONTEXT')
  return identity
}

export function tryCurrentIdentity (): Identity | undefined {
  return identityOf(context.active())
}

/** The identity that a context carries, which need not be the active one: for what is told of somebody else's. */
export function identityOf (carrier: Context): Identity | undefined {
  return carrier.getValue(identityKey) as Identity | undefined // only contextOf writes under this key, in each copy of this module
}

/** User, thread and request, and the run where there is one. Throws `THREADLINE_NO_CONTEXT` outside of a thread. */
export function currentThread (): ThreadIdentity {
  const identity = tryCurrentThread()
  if (identity === undefined) throw new ThreadlineError('THREADLINE_NO_CONTEXT', 'No thread is active here')
  return identity
}

export function tryCurrentThread (): ThreadIdentity | undefined {
  const identity = tryCurrentIdentity()
  return identity?.threadId === undefined ? undefined : identity as ThreadIdentity // just checked
}

/** User, thread, run and request. Throws `THREADLINE_NO_CONTEXT` outside of a run. */
export function currentRun (): RunIdentity {
  const identity = tryCurrentIdentity()
  if (identity?.runId === undefined) throw new ThreadlineError('THREADLINE_NO_CONTEXT', 'No run is active here')
  return identity as RunIdentity // a run is never without its thread: createIdentity has checked it
}

/** The attributes that every hop's span and every log line carries. */
export function identityAttributes (identity: Identity): Record<string, string> {
  const entries: Record<string, string> = {
    [attributes.userId]: identity.userId,
    [attributes.requestId]: identity.requestId
  }
  if (identity.threadId !== undefined) entries[attributes.threadId] = identity.threadId
  if (identity.runId !== undefined) entries[attributes.runId] = identity.runId
  if (identity.connectionId !== undefined) entries[attributes.connectionId] = identity.connectionId
  return entries
}

function contextOf (identity: Identity, base: Context): Context {
  const baggage = new IdentityBaggage(() => identityAttributes(identity))
  return propagation.setBaggage(base.setValue(identityKey, identity), baggage)
}

function withParent (base: Context, parent: Span | SpanContext | undefined): Context {
  if (parent === undefined) return base
  return 'spanContext' in parent ? trace.setSpan(base, parent) : trace.setSpanContext(base, parent)
}
