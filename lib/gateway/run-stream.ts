import { bindThread } from '../context/bind.ts'
import { currentIdentity, enterWithin } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { ThreadlineError } from '../errors.ts'
import type { HandlerTools } from '../handlers/handler.ts'
import { toRunView } from '../handlers/run-view.ts'
import type { CommandOf } from '../protocol/commands.ts'
import type { ServerEvent } from '../protocol/events.ts'
import { threadOfRun, toRunId, type RunId, type ThreadId } from '../protocol/ids.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { Attachment } from './attachment.ts'
import type { Hold } from './connection.ts'
import { createEvent } from './create-event.ts'
import type { Requests } from './requests.ts'
import type { RunListening } from './run-listening.ts'
import type { StreamOutbox } from './stream-outbox.ts'
import type { Subscriptions } from './subscriptions.ts'
import type { Entry, ThreadMembership } from './thread-membership.ts'
import { writeAsHop } from './write-event.ts'

export interface RunRequest {
  readonly threadId: ThreadId
  /** The message; it names the thread. */
  readonly command: CommandOf<'user_message'>
  /** What becomes of the run when its reader leaves before it has ended. */
  readonly onDisconnect: 'continue' | 'cancel'
}

export interface RunStreamOptions {
  readonly requests: Pick<Requests, 'perform'>
  readonly tools: HandlerTools
  readonly membership: ThreadMembership
  readonly subscriptions: Subscriptions
  readonly logger: Logger
}

/** A connection that is in no thread yet, and listens to one run. */
export interface RunReader {
  readonly attachment: Attachment
  readonly outbox: StreamOutbox
  readonly listening: RunListening
}

/** Where the events of a run lie in its thread, of those that are stored. */
interface Story {
  readonly after: number
  readonly upTo: number
  /** The run, when it has ended before. */
  readonly ended?: RunRecord
}

/**
 * Puts the reader into the thread, held back, and then sends the message, so that nothing that its run tells can be missed. The message is
 * sent for the active request, under its id and in its trace, and names the reader's connection.
 */
export async function streamRun (request: RunRequest, reader: RunReader, options: RunStreamOptions): Promise<void> {
  const { connection } = reader.attachment
  await enterWithin(identityOf(request.threadId, reader), () => options.membership.enter(connection, async (hold) => {
    const { sequence } = await options.tools.storage.threads.state(request.threadId)
    const { accepted, more, runId } = await accept(request, reader, options)
    const story = accepted.payload.duplicate ? await storyOf(runId, options.tools) : { after: sequence, upTo: sequence }
    const tell = (): Promise<void> => enterWithin(identityOf(request.threadId, reader, runId), async () => {
      for (const event of [accepted, ...more]) writeAsHop(connection, event)
      await tellStory(story, hold, reader, options)
    })
    return { sequence: story.upTo, told: { from: story.after, to: story.after }, tell, failed: (err) => { connection.fail(err) } } satisfies Entry
  }))
}

interface Accepted {
  readonly accepted: ServerEvent<'message_accepted'>
  /** What else is told of it. */
  readonly more: readonly ServerEvent[]
  readonly runId: RunId
}

async function accept ({ threadId, command, onDisconnect }: RunRequest, reader: RunReader, options: RunStreamOptions): Promise<Accepted> {
  const { outbox, listening } = reader
  const left = new AbortController()
  void outbox.gone.then(() => { left.abort() })
  const more: ServerEvent[] = []
  const accepted = await options.requests.perform(command, { signal: left.signal, also: (event) => { more.push(event) } })
  const runId = toRunId(accepted.payload.run_id)
  if (threadOfRun(runId) !== threadId) throw new ThreadlineError('THREADLINE_CONFLICT', 'The id was used in another thread')
  listening.to(runId)
  if (onDisconnect === 'cancel') enterWithin(identityOf(threadId, reader, runId), () => { stopWhenLeft(runId, reader, options) })
  return { accepted, more, runId }
}

/** The state is read after the run: of a run that has ended before, all lies up to there. */
async function storyOf (runId: RunId, { storage }: HandlerTools): Promise<Story> {
  const run = await storage.runs.require(runId)
  const { sequence } = await storage.threads.state(run.threadId)
  const first = await storage.runs.firstSequence(runId) ?? sequence + 1
  return { after: Math.min(first - 1, sequence), upTo: sequence, ...(run.finishedAt === null ? {} : { ended: run }) }
}

/** A run that has ended and does not tell it, because its events are not kept any more or it never did, is told as it stands. */
async function tellStory ({ ended, ...range }: Story, hold: Hold, { attachment, outbox }: RunReader, { subscriptions }: RunStreamOptions): Promise<void> {
  attachment.begin()
  if (range.after < range.upTo) await subscriptions.replay(attachment.connection, hold, range)
  if (ended !== undefined && !outbox.isComplete) writeAsHop(attachment.connection, createEvent('run_state', toRunView(ended)))
}

/**
 * Stops the run when its reader leaves, or does not read. Where the server has ended the stream, for its own shutdown or because of the token,
 * the reader has not left.
 */
function stopWhenLeft (runId: RunId, { outbox }: RunReader, { tools, logger }: RunStreamOptions): void {
  const stop = bindThread(async () => {
    if (outbox.isComplete || (outbox.goodbye !== undefined && outbox.goodbye !== 'slowConsumer')) return
    await tools.engine.stop({ runId, reason: 'cancelled' })
  })
  outbox.gone.then(stop).catch((err: unknown) => { logger.error({ err }, 'a run was not stopped') })
}

/** The active request's, narrowed to what it is about. */
function identityOf (threadId: ThreadId, { attachment: { connection: { connectionId } } }: RunReader, runId?: RunId) {
  const { userId, requestId } = currentIdentity()
  return createIdentity({ userId, requestId, connectionId, threadId, runId })
}
