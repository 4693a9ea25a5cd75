import { currentRun } from '../context/current-thread.ts'
import { activeTraceparent } from '../context/traceparent.ts'
import { ThreadlineError } from '../errors.ts'
import type { MultitaskStrategy } from '../protocol/commands.ts'
import { newMessageId, toThreadId } from '../protocol/ids.ts'
import type { Acceptance } from '../storage/storage.ts'
import type { HandlerConnection, HandlerTools } from './handler.ts'

export interface IncomingMessage {
  readonly clientId: string | undefined
  readonly content: string
  readonly agent: string
  readonly strategy: MultitaskStrategy
  readonly metadata: Readonly<Record<string, unknown>>
}

/**
 * Stores a message together with its run, under the run id of the active identity, and, if the thread is new, the thread: one durable
 * write. Then `answer` is called, in the identity of the message as it is stored: for one that had been accepted before, that is
 * its own thread and run. A connection without a thread is put into the message's.
 */
export async function acceptMessage (
  message: IncomingMessage, connection: HandlerConnection, tools: HandlerTools, answer: (acceptance: Acceptance) => Promise<void>
): Promise<void> {
  if (!tools.agents.has(message.agent)) throw new ThreadlineError('THREADLINE_AGENT_NOT_FOUND')
  const { data } = currentRun()
  const newThread = data['new_thread'] === true
  const acceptance = await store(message, newThread, tools)
  if (!acceptance.duplicate) {
    if (newThread) await enterNewThread(acceptance, connection)
    else if (!connection.hasThread) await enterKnownThread(connection, tools)
    return await answer(acceptance)
  }
  const stored = { threadId: toThreadId(acceptance.thread.thread_id), runId: acceptance.runId }
  await connection.adopt(stored, async () => {
    if (!connection.hasThread) await enterKnownThread(connection, tools)
    await answer(acceptance)
  })
}

async function store (message: IncomingMessage, newThread: boolean, { storage, maxWaitingRuns }: HandlerTools): Promise<Acceptance> {
  const { threadId, runId } = currentRun()
  const { content, clientId, agent, strategy, metadata } = message
  return await storage.runs.accept({
    messageId: newMessageId(),
    runId,
    threadId,
    newThread,
    content,
    metadata,
    clientId,
    agent,
    context: metadata,
    strategy,
    traceparent: activeTraceparent(),
    maxWaiting: maxWaitingRuns
  })
}

async function enterNewThread ({ thread }: Acceptance, connection: HandlerConnection): Promise<void> {
  connection.tellOthers('thread_created', thread)
  await connection.enter(async () => ({ sequence: 0, tell: () => { connection.reply('thread_created', thread) } }))
}

async function enterKnownThread (connection: HandlerConnection, { storage }: HandlerTools): Promise<void> {
  const { threadId } = currentRun()
  await connection.enter(async () => ({ sequence: await storage.threads.lastSequence(threadId), tell: () => {} }))
}
