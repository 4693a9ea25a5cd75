/**
 * What the storage does in a second, and what an append costs: on the embedded database in memory, or on a server.
 *
 *   node bench/storage.ts [--url postgres://…] [--seconds 2]
 *
 * A server's database should be one to throw away. Ends with one line of JSON.
 */
import { parseArgs } from 'node:util'
import { enterThread } from '../lib/context/current-thread.ts'
import { createIdentity } from '../lib/context/identity.ts'
import { newEventId, newMessageId, newRequestId, newRunId, newThreadId, toUserId } from '../lib/protocol/ids.ts'
import { createStorage } from '../lib/storage/open-storage.ts'
import type { AppendedEvent } from '../lib/stores/event-store.ts'
import type { RunRecord } from '../lib/stores/run-record.ts'
import type { AcceptedMessage } from '../lib/stores/run-store.ts'
import { formatTable } from './support/table.ts'

const { values } = parseArgs({ options: { url: { type: 'string' }, seconds: { type: 'string', default: '2' } } })
const roundMs = Number(values.seconds) * 1000

const storage = await createStorage({ databaseUrl: values.url })
const user = createIdentity({ userId: toUserId('bench') })
const asUser = async <T>(work: () => Promise<T>): Promise<T> => await enterThread(user, work)

function newMessage (): AcceptedMessage {
  const threadId = newThreadId()
  return {
    messageId: newMessageId(),
    runId: newRunId(threadId),
    threadId,
    newThread: true,
    content: 'How much does it cost?',
    metadata: {},
    clientId: newRequestId(),
    agent: 'assistant',
    context: {},
    strategy: 'enqueue',
    traceparent: undefined,
    signature: '',
    maxWaiting: 16
  }
}

async function newRun (): Promise<RunRecord> {
  const message = newMessage()
  await asUser(async () => await storage.runs.accept(message))
  const run = await asUser(async () => await storage.runs.claimNext(message.threadId, { worker: 'bench', leaseMs: 60_000 }))
  if (run === undefined) throw new Error('There was nothing to claim')
  return run
}

function deltas (runs: readonly RunRecord[], each: number): readonly AppendedEvent[] {
  return runs.flatMap(({ userId, threadId, runId, attempt }) => Array.from({ length: each }, () => ({
    attempt,
    event: {
      type: 'agent_delta',
      event_id: newEventId(),
      timestamp: new Date().toISOString(),
      user_id: userId,
      thread_id: threadId,
      run_id: runId,
      request_id: newRequestId(),
      payload: { text: 'a few words of an answer', step: 0 }
    }
  } as const)))
}

interface Result { readonly title: string, readonly perSecond: number, readonly meanMs: number }

/** `each` works of one call, by `callers` at once, for one round after a short one that is not counted. */
async function measure (title: string, callers: number, each: number, work: () => Promise<unknown>): Promise<Result> {
  const round = async (ms: number): Promise<Result> => {
    const start = performance.now()
    let calls = 0
    await Promise.all(Array.from({ length: callers }, async () => {
      while (performance.now() - start < ms) {
        await work()
        calls++
      }
    }))
    const passedMs = performance.now() - start
    return { title, perSecond: calls * each / passedMs * 1000, meanMs: passedMs * callers / calls }
  }
  await round(roundMs / 4)
  return await round(roundMs)
}

const [one, many] = [[await newRun()], await Promise.all(Array.from({ length: 100 }, newRun))]
const results = [
  await measure('accept, one at a time', 1, 1, async () => await asUser(async () => await storage.runs.accept(newMessage()))),
  await measure('accept, 32 at once', 32, 1, async () => await asUser(async () => await storage.runs.accept(newMessage()))),
  await measure('append 1 event', 1, 1, async () => await storage.events.append(deltas(one, 1))),
  await measure('append 300 events of one thread', 1, 300, async () => await storage.events.append(deltas(one, 300))),
  await measure('append 100 events of 100 threads', 1, 100, async () => await storage.events.append(deltas(many, 1))),
  await measure('append 600 events of 100 threads', 1, 600, async () => await storage.events.append(deltas(many, 6)))
]
await storage.close()

console.log(formatTable([
  ['', 'per second', 'ms per call'],
  ...results.map(({ title, perSecond, meanMs }) => [title, perSecond.toFixed(0), meanMs.toFixed(2)])
]))
console.log(JSON.stringify({ database: values.url === undefined ? 'embedded' : 'server', results }))
