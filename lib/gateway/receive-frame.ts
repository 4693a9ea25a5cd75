import { SpanKind, trace, type Link, type Span } from '@opentelemetry/api'
import { enterThread, identityAttributes } from '../context/current-thread.ts'
import { failSpan, withHop } from '../context/hop.ts'
import { createIdentity, type Identity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { isThreadlineError, ThreadlineError, toPublicError } from '../errors.ts'
import type { CommandNeeds, HandlerConnection, HandlerTools } from '../handlers/handler.ts'
import { commandNeeds, handleCommand } from '../handlers/handlers.ts'
import type { Command } from '../protocol/commands.ts'
import { decodeCommand, type FrameNames } from '../protocol/decode-command.ts'
import { newRequestId, newRunId, newThreadId, toThreadId, type ThreadId } from '../protocol/ids.ts'
import type { Connection } from './connection.ts'
import type { MessageWindow } from './message-window.ts'

export interface ReceiveOptions {
  readonly tools: HandlerTools
  readonly window: MessageWindow
  readonly logger: Logger
  readonly handlerConnection: (connection: Connection, replyTo: string | undefined, received: Span) => HandlerConnection
}

/**
 * A frame from a socket, from text to answer. This is where a message's identity is entered: user and connection are the
 * socket's, the request is new, the thread is the one that the command names and the user owns, else the connection's, else a new
 * one. The trace begins here, and is linked to the handshake and to the client's own trace. Never throws: the client is told.
 */
export async function receiveFrame (connection: Connection, text: string, options: ReceiveOptions): Promise<void> {
  const decoded = decode(text)
  const namesThread = 'command' in decoded && namedThreads(decoded.command).length > 0
  const arrived = createIdentity({
    userId: connection.userId,
    connectionId: connection.connectionId,
    requestId: newRequestId(),
    threadId: namesThread ? undefined : connection.threadId
  })
  const replyTo = 'command' in decoded ? decoded.command.id : decoded.names.id
  const links = linksOf(connection, decoded)
  await enterThread(arrived, () => withHop('socket.receive', { kind: SpanKind.SERVER, links }, async (span) => {
    const view = options.handlerConnection(connection, replyTo, span)
    await answeringErrors(view, options.logger, async () => {
      if (!options.window.admit(connection.userId)) throw new ThreadlineError('THREADLINE_RATE_LIMITED')
      if ('error' in decoded) throw decoded.error
      const identity = await identityOfCommand(decoded.command, arrived, connection, options.tools)
      span.setAttributes(identityAttributes(identity))
      await enterThread(identity, () => answeringErrors(view, options.logger, async () => {
        await handleCommand(decoded.command, view, options.tools)
      }), { parent: span })
    })
  }))
}

type Decoded = { readonly command: Command } | { readonly error: ThreadlineError, readonly names: FrameNames }

function decode (text: string): Decoded {
  try {
    return { command: decodeCommand(text) }
  } catch (error) {
    if (!isThreadlineError(error)) throw error
    return { error, names: error.cause ?? {} } // decodeCommand's promise
  }
}

/** The threads that the command itself names, whoever they belong to. The one that it is about comes first. */
function namedThreads (command: Command): readonly string[] {
  const target = 'thread_id' in command.payload ? command.payload.thread_id : undefined
  return [target, command.thread_id].filter((named) => named !== undefined)
}

/** The identity under which the command is carried out; throws `THREADLINE_THREAD_NOT_FOUND` for a thread that is not the user's. */
async function identityOfCommand (
  command: Command, arrived: Identity, connection: Connection, { storage }: HandlerTools
): Promise<Identity> {
  const needs = commandNeeds[command.type]
  const [named, ...more] = new Set(namedThreads(command))
  if (named !== undefined) await storage.threads.require(toThreadId(named))
  for (const other of more) await storage.threads.require(toThreadId(other))
  const { threadId, created } = threadFor(needs, named, connection.threadId)
  return createIdentity({
    userId: arrived.userId,
    connectionId: arrived.connectionId,
    requestId: arrived.requestId,
    threadId,
    ...(needs.run && threadId !== undefined ? { runId: newRunId(threadId) } : {}),
    ...(created ? { data: { new_thread: true } } : {})
  })
}

function threadFor (needs: CommandNeeds, named: string | undefined, bound: ThreadId | undefined): { threadId: ThreadId | undefined, created: boolean } {
  const threadId = named === undefined ? bound : toThreadId(named)
  if (threadId !== undefined || needs.thread === 'none') return { threadId, created: false }
  if (needs.thread === 'created') return { threadId: newThreadId(), created: true }
  throw new ThreadlineError('THREADLINE_THREAD_REQUIRED')
}

function linksOf (connection: Connection, decoded: Decoded): readonly Link[] {
  const client = parseTraceparent('command' in decoded ? decoded.command.traceparent : undefined)
  return [connection.handshake, client].filter((linked) => linked !== undefined).map((linked) => ({ context: linked }))
}

/** Tells the client of an error, in the identity that is active, instead of throwing it. */
async function answeringErrors (view: HandlerConnection, logger: Logger, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (err) {
    const told = toPublicError(err)
    const span = trace.getActiveSpan()
    if (span !== undefined) failSpan(span, err)
    if (told.code === 'THREADLINE_INTERNAL') logger.error({ err }, 'a message failed')
    else logger.warn({ code: told.code }, 'a message was refused')
    view.reply('error', told)
  }
}
