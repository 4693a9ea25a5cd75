import { signCarrier } from '../context/carrier.ts'
import { currentRun } from '../context/current-thread.ts'
import { activeTraceparent } from '../context/traceparent.ts'
import { ThreadlineError } from '../errors.ts'
import type { MultitaskStrategy } from '../protocol/commands.ts'
import { newMessageId, toMessageId, toThreadId } from '../protocol/ids.ts'
import type { Acceptance, AcceptedMessage } from '../stores/run-store.ts'
import type { HandlerConnection, HandlerTools } from './handler.ts'
import { recentMessages } from './recent-messages.ts'

/** A message with the run that answers it, or one more run for a message. */
export interface RunRequest {
  readonly strategy: MultitaskStrategy
  /** Says that the run is durable. */
  readonly answer: 'message_accepted' | 'run_created'
  /** It does not go on where the visible branch ended, so that whoever shows the thread has to show it anew. */
  readonly leavesBranch: boolean
  readonly store: (thread: { readonly isNew: boolean }) => Promise<Acceptance>
}

export interface IncomingMessage {
  readonly clientId: string | undefined
  readonly content: string
  readonly agent: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly editOf?: string | undefined
}

/**
 * Stores a run under the run id of the active identity, with its message where it is new, in one durable write; then answers, and has it
 * executed. That happens in the identity of the run as it is stored: for one that had been accepted before, it is its own thread and
 * run, which nothing more is done for. A connection without a thread is put into the run's, and told what that run has told already.
 */
export async function acceptRun (request: RunRequest, connection: HandlerConnection, tools: HandlerTools): Promise<void> {
  const isNew = currentRun().data['new_thread'] === true
  const acceptance = await request.store({ isNew })
  const { messageId, runId, duplicate, thread } = acceptance
  const answer = (): void => { connection.reply(request.answer, { message_id: messageId, run_id: runId, duplicate }) }
  if (duplicate) {
    await connection.adopt({ threadId: toThreadId(thread.thread_id), runId }, async () => {
      answer()
      if (!connection.hasThread) await returnToRun(connection, tools)
    })
    return
  }
  try {
    if (isNew) await enterNewThread(acceptance, connection)
    if (isNew || connection.hasThread) answer()
    else await enterKnownThread(connection, tools, answer)
    if (request.leavesBranch) connection.tellThread('branch_selected', await recentMessages(tools.storage))
  } finally {
    await begin(acceptance, request, connection, tools) // it is stored: it is executed, whatever anybody can be told
  }
}

/** Throws `THREADLINE_AGENT_NOT_FOUND`. */
export function requireAgent (agent: string, { agents }: HandlerTools): void {
  if (!agents.has(agent)) throw new ThreadlineError('THREADLINE_AGENT_NOT_FOUND')
}

/** What is stored of every run of the active identity. */
export function newRun (clientId: string | undefined, strategy: MultitaskStrategy, { maxWaitingRuns: maxWaiting, signer }: HandlerTools) {
  const { userId, threadId, runId, requestId, connectionId } = currentRun()
  const traceparent = activeTraceparent()
  const signature = signCarrier(signer, { userId, threadId, runId, requestId, connectionId, traceparent })
  return { runId, threadId, clientId, strategy, traceparent, signature, maxWaiting }
}

/** Stores a message of the user, and its thread if it is new. Throws what the storage throws, and `THREADLINE_AGENT_NOT_FOUND`. */
export function storingMessage (message: IncomingMessage, strategy: MultitaskStrategy, tools: HandlerTools): RunRequest['store'] {
  requireAgent(message.agent, tools)
  const { clientId, content, agent, metadata, editOf } = message
  return async ({ isNew }) => {
    const accepted: AcceptedMessage = {
      ...newRun(clientId, strategy, tools),
      messageId: newMessageId(),
      newThread: isNew,
      content,
      metadata,
      agent,
      context: metadata,
      editOf: editOf === undefined ? undefined : toMessageId(editOf)
    }
    return await tools.storage.runs.accept(accepted)
  }
}

/** Has the run executed when its turn has come; a newer message may take the turn of what stands before it. */
async function begin (
  { runId, position }: Acceptance, { strategy }: RunRequest, connection: HandlerConnection, { engine }: HandlerTools
): Promise<void> {
  if (position > 0 && strategy === 'enqueue') connection.reply('run_queued', { run_id: runId, position })
  engine.launch()
  if (strategy === 'interrupt') await engine.stop({ before: runId, reason: 'interrupted' })
  if (strategy === 'rollback') await engine.stop({ before: runId, reason: 'rolled_back' })
}

async function enterNewThread ({ thread }: Acceptance, connection: HandlerConnection): Promise<void> {
  connection.tellOthers('thread_created', thread)
  await connection.enter(async () => ({ sequence: 0, tell: () => { connection.reply('thread_created', thread) } }))
}

/** By the answer the client knows in which thread it is, before it is told of what goes on there. */
async function enterKnownThread (connection: HandlerConnection, { storage }: HandlerTools, answer: () => void): Promise<void> {
  const { threadId } = currentRun()
  await connection.enter(async () => {
    const { sequence } = await storage.threads.state(threadId)
    return { sequence, tell: answer }
  })
}

/** The thread's position is read first: a run that has told nothing by then tells everything behind it. */
async function returnToRun (connection: HandlerConnection, { storage }: HandlerTools): Promise<void> {
  const { threadId, runId } = currentRun()
  const { sequence } = await storage.threads.state(threadId)
  const first = await storage.runs.firstSequence(runId) ?? sequence + 1
  await connection.resume({ after: Math.min(first - 1, sequence), epoch: storage.epoch })
}
