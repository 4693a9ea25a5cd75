import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { EventBus } from '../events/event-bus.ts'
import { currentThread } from '../context/current-thread.ts'
import { isRunId, threadOfRun, type RunId } from '../protocol/ids.ts'
import { RunStopped, toStopReason, type StopReason } from './run-outcome.ts'
import type { RunRegistry } from './run-registry.ts'
import { enterSession, type ThreadSession } from './thread-sessions.ts'

const name = 'stop'

interface Body { readonly run_id: string, readonly reason: string }

/** Tells whoever executes a run of the active thread that somebody has asked for its end. Should the message be lost, the next heartbeat says so. */
export function tellStop (bus: Pick<EventBus, 'publish'>, runId: RunId, reason: StopReason): void {
  const { userId, threadId } = currentThread()
  const body: Body = { run_id: runId, reason }
  context.with(ROOT_CONTEXT, () => { bus.publish({ kind: 'thread', userId, threadId }, { kind: 'message', name, body }) })
}

/** Stops runs of a thread that is worked on here, when another node says so. Returns what ends that. */
export function hearStops (bus: Pick<EventBus, 'subscribe'>, registry: RunRegistry, session: ThreadSession): () => void {
  const { userId, threadId } = session
  return context.with(ROOT_CONTEXT, () => bus.subscribe({ kind: 'thread', userId, threadId }, (signal) => {
    if (signal.kind !== 'message' || signal.name !== name) return
    const { run_id: runId, reason } = signal.body as Partial<Record<keyof Body, unknown>> // what is in it is checked next
    if (!isRunId(runId) || threadOfRun(runId) !== threadId || typeof reason !== 'string') return
    // Its claim may still be under way: then the loop finds it stopped.
    enterSession(session, () => { registry.register(runId).abort(new RunStopped(toStopReason(reason))) })
  }))
}
