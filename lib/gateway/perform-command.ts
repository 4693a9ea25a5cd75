import { trace } from '@opentelemetry/api'
import { enterWithin, identityAttributes } from '../context/current-thread.ts'
import { ThreadlineError } from '../errors.ts'
import type { HandlerTools } from '../handlers/handler.ts'
import { handleCommand } from '../handlers/handlers.ts'
import { answers, type AnswerType } from '../protocol/answers.ts'
import type { Command, CommandOf, CommandType } from '../protocol/commands.ts'
import { isNestedTooDeep } from '../protocol/decode-command.ts'
import type { EventType, ServerEvent } from '../protocol/events.ts'
import type { Announcements } from './announcements.ts'
import { identityOfCommand } from './identity-of-command.ts'
import { createRequestConnection } from './request-connection.ts'
import type { ThreadMembership } from './thread-membership.ts'

export interface PerformOptions {
  /** Nothing is begun once it is aborted. */
  readonly signal?: AbortSignal | undefined
  /** Is told what the handler says beside the answer, such as `run_queued`. */
  readonly also?: ((event: ServerEvent) => void) | undefined
}

/** A command as its caller writes it, whose type says what answers it. */
export type PerformedCommand<Name extends CommandType> = CommandOf<Name> & { readonly type: Name }

interface Performing {
  readonly tools: HandlerTools
  readonly announcements: Announcements
  readonly membership: ThreadMembership
}

/**
 * A command of the active request, which has passed its schema, carried out as if it had come as a frame: its thread is checked and its
 * identity entered below the request's, the same handler does it, and the user's connections are told of it. Resolves with the event that
 * answers it. Throws what a frame would be told as an error, and `THREADLINE_CANCELLED` when nobody waits for the answer any more.
 */
export async function performCommand<Name extends CommandType> (
  performed: PerformedCommand<Name>, { signal, also }: PerformOptions, { tools, announcements, membership }: Performing
): Promise<ServerEvent<AnswerType<Name>>> {
  const command: Command = performed // one of them, whichever it is
  if (isNestedTooDeep(command.payload)) throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'The request is nested too deep')
  const identity = await identityOfCommand(command, undefined, tools.storage.threads)
  if (signal?.aborted === true) throw new ThreadlineError('THREADLINE_CANCELLED', 'The request was given up')
  const received = trace.getActiveSpan()
  received?.setAttributes(identityAttributes(identity))
  const told: ServerEvent[] = []
  const view = createRequestConnection({
    announcements, membership, received, replyTo: command.id, replied: (event) => { told.push(event) }
  })
  await enterWithin(identity, () => handleCommand(command, view, tools))
  const answer = told.find((event): event is ServerEvent<AnswerType<Name>> => isAnswer(performed.type, event.type))
  if (answer === undefined) throw new Error(`${command.type} was not answered`)
  for (const event of told) if (event !== answer) also?.(event)
  return answer
}

function isAnswer (name: CommandType, type: EventType): boolean {
  return (answers[name] as readonly EventType[]).includes(type) // any type may be asked for, not only one that it has
}
