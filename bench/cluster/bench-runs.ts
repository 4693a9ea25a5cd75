import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity, createRunIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import type { NewThreadEvent } from '../../lib/protocol/events.ts'
import { newEventId, newMessageId, newRunId, newThreadId, toUserId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { AcceptedMessage } from '../../lib/stores/run-store.ts'
import type { Storage } from '../../lib/stores/storage.ts'

/** A run that is claimed and told by nobody but the bench. */
export interface BenchRun {
  readonly identity: RunIdentity
  readonly attempt: number
}

/** Leases outlive the bench: nobody takes its runs over. */
const lease = { worker: 'bench', leaseMs: 3_600_000 }

/** As many claimed runs as are asked for, each in a thread and of a user of its own. */
export async function openRuns (storage: Storage, count: number): Promise<readonly BenchRun[]> {
  return await Promise.all(Array.from({ length: count }, async (_run, index) => await openRun(storage, `bench-${index}`)))
}

async function openRun (storage: Storage, user: string): Promise<BenchRun> {
  const userId = toUserId(user)
  const message = newMessage(newThreadId())
  return await enterThread(createIdentity({ userId, threadId: message.threadId }), async () => {
    await storage.runs.accept(message)
    const run = await storage.runs.claimNext(message.threadId, lease)
    if (run === undefined) throw new Error('There was nothing to claim')
    const { threadId, runId, requestId, attempt } = run
    return { identity: createRunIdentity({ userId, threadId, runId, requestId }), attempt }
  })
}

function newMessage (threadId: ThreadId): AcceptedMessage {
  return {
    messageId: newMessageId(),
    runId: newRunId(threadId),
    threadId,
    newThread: true,
    content: 'How much does it cost?',
    metadata: {},
    clientId: undefined,
    agent: 'assistant',
    context: {},
    strategy: 'enqueue',
    traceparent: undefined,
    signature: '', // nobody executes it
    maxWaiting: 16
  }
}

export function enterRun<T> ({ identity }: BenchRun, fn: () => T): T {
  return enterThread(identity, fn)
}

/** A small event of the run, with the moment at which it was made. */
export function thinkingOf ({ identity }: BenchRun): NewThreadEvent<'agent_thinking'> {
  return {
    type: 'agent_thinking',
    event_id: newEventId(),
    timestamp: new Date().toISOString(),
    user_id: identity.userId,
    thread_id: identity.threadId,
    run_id: identity.runId,
    request_id: identity.requestId,
    agent_name: 'assistant',
    payload: { message: 'Looking at what was asked', step: 0 }
  }
}
