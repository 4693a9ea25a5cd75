import { SpanKind, trace, type Link, type Span } from '@opentelemetry/api'
import { enterThread, identityAttributes } from '../context/current-thread.ts'
import { failSpan, withHop } from '../context/hop.ts'
import { createIdentity } from '../context/identity.ts'
import type { Logger } from '../context/logger.ts'
import { parseTraceparent } from '../context/traceparent.ts'
import { isThreadlineError, ThreadlineError, toPublicError, type ErrorCode } from '../errors.ts'
import type { HandlerConnection, HandlerTools } from '../handlers/handler.ts'
import { handleCommand } from '../handlers/handlers.ts'
import type { Command } from '../protocol/commands.ts'
import { decodeCommand, type FrameNames } from '../protocol/decode-command.ts'
import { newRequestId } from '../protocol/ids.ts'
import type { Connection } from './connection.ts'
import { countCommand } from './gateway-metrics.ts'
import { identityOfCommand, namedThreads } from './identity-of-command.ts'
import type { FrameLimit } from './message-window.ts'

export interface ReceiveOptions {
  readonly tools: HandlerTools
  readonly window: Pick<FrameLimit, 'admit'>
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
  const outcome = await enterThread(arrived, () => withHop('socket.receive', { kind: SpanKind.SERVER, links }, async (span) => {
    const view = options.handlerConnection(connection, replyTo, span)
    return await answeringErrors(view, options.logger, async () => {
      const admitted = options.window.admit(connection.userId)
      if (admitted === false || (admitted !== true && !await admitted)) throw new ThreadlineError('THREADLINE_RATE_LIMITED')
      if ('error' in decoded) throw decoded.error
      const identity = await identityOfCommand(decoded.command, connection.threadId, options.tools.storage.threads)
      span.setAttributes(identityAttributes(identity))
      return await enterThread(identity, () => answeringErrors(view, options.logger, async () => {
        await handleCommand(decoded.command, view, options.tools)
        return 'ok'
      }), { parent: span })
    })
  }))
  countCommand('command' in decoded ? decoded.command.type : undefined, 'socket', outcome)
}

/** What became of a command: the code is that of the error that the client was told. */
type Outcome = 'ok' | ErrorCode

type Decoded = { readonly command: Command } | { readonly error: ThreadlineError, readonly names: FrameNames }

function decode (text: string): Decoded {
  try {
    return { command: decodeCommand(text) }
  } catch (error) {
    if (!isThreadlineError(error)) throw error
    return { error, names: error.cause ?? {} } // decodeCommand's promise
  }
}

function linksOf (connection: Connection, decoded: Decoded): readonly Link[] {
  const client = parseTraceparent('command' in decoded ? decoded.command.traceparent : undefined)
  return [connection.handshake, client].filter((linked) => linked !== undefined).map((linked) => ({ context: linked }))
}

/** Tells the client of an error, in the identity that is active, instead of throwing it. */
async function answeringErrors (view: HandlerConnection, logger: Logger, work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work()
  } catch (err) {
    const told = toPublicError(err)
    const span = trace.getActiveSpan()
    if (span !== undefined) failSpan(span, err)
    if (told.code === 'THREADLINE_INTERNAL') logger.error({ err }, 'a message failed')
    else logger.warn({ code: told.code }, 'a message was refused')
    view.reply('error', told)
    return told.code
  }
}
