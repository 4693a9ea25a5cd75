import { currentRun } from '../context/current-thread.ts'
import { activeTraceparent } from '../context/traceparent.ts'
import { ThreadlineError } from '../errors.ts'
import type { MultitaskStrategy } from '../protocol/commands.ts'
import { newMessageId } from '../protocol/ids.ts'
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
 * write. A connection without a thread is put into a new one. Nothing is running yet when this resolves.
 */
export async function acceptMessage (
  message: IncomingMessage, connection: HandlerConnection, { storage, agents, maxWaitingRuns }: HandlerTools
): Promise<Acceptance> {
  if (!agents.has(message.agent)) throw new ThreadlineError('THREADLINE_AGENT_NOT_FOUND')
  const { threadId, runId, data } = currentRun()
  const newThread = data['new_thread'] === true
  const acceptance = await storage.runs.accept({
    messageId: newMessageId(),
    runId,
    threadId,
    newThread,
    content: message.content,
    metadata: message.metadata,
    clientId: message.clientId,
    agent: message.agent,
    context: message.metadata,
    strategy: message.strategy,
    traceparent: activeTraceparent(),
    maxWaiting: maxWaitingRuns
  })
  if (newThread && !acceptance.duplicate) {
    connection.tellOthers('thread_created', acceptance.thread)
    const tell = (): void => { connection.reply('thread_created', acceptance.thread) }
    await connection.enter(async () => ({ sequence: 0, tell }))
  }
  return acceptance
}
