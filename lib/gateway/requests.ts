import { attributes } from '../context/attributes.ts'
import { currentIdentity, enterWithin } from '../context/current-thread.ts'
import { withHop } from '../context/hop.ts'
import { ThreadlineError } from '../errors.ts'
import { eraseUser } from '../handlers/erase-user.ts'
import { exportThread, type ExportFormat, type ThreadExport } from '../handlers/export-thread.ts'
import type { HandlerTools } from '../handlers/handler.ts'
import type { AnswerType } from '../protocol/answers.ts'
import type { CommandType } from '../protocol/commands.ts'
import type { EventType, PayloadOf, ServerEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { Erased } from '../stores/account-store.ts'
import type { Announcements } from './announcements.ts'
import { countingRequest } from './gateway-metrics.ts'
import { identityOfCommand } from './identity-of-command.ts'
import type { FrameLimit } from './message-window.ts'
import { performCommand, type PerformedCommand, type PerformOptions } from './perform-command.ts'
import type { ThreadMembership } from './thread-membership.ts'

/**
 * What is done for a request without a connection, in the active identity of an authenticated user. Each is refused with
 * `THREADLINE_SHUTTING_DOWN` while the node drains, and, but for `tell`, counts as one message of the user: `THREADLINE_RATE_LIMITED`.
 */
export interface Requests {
  /** Counts a request that is answered elsewhere. */
  count (): Promise<void>
  /** Carries out a command, and resolves with its answer; see `performCommand`. */
  perform<Name extends CommandType>(command: PerformedCommand<Name>, options?: PerformOptions): Promise<ServerEvent<AnswerType<Name>>>
  /** The visible branch of a thread as text; see `exportThread`. Throws `THREADLINE_THREAD_NOT_FOUND`. */
  exportThread (threadId: ThreadId, format: ExportFormat): Promise<ThreadExport>
  /** Erases all that is kept of the user, and then shows all of the user's connections out with 4401, on all nodes. */
  eraseUser (): Promise<Erased>
  /** Tells all connections of the user, on all nodes. */
  tell<Type extends EventType>(type: Type, payload: PayloadOf<Type>): void
}

export interface RequestsOptions {
  readonly tools: HandlerTools
  readonly announcements: Announcements
  readonly membership: ThreadMembership
  readonly window: Pick<FrameLimit, 'admit'>
  /** Throws when no new work is taken. */
  readonly admit: () => void
}

export function createRequests (options: RequestsOptions): Requests {
  const { tools, announcements, window, admit } = options

  async function count (): Promise<void> {
    admit()
    if (!await window.admit(currentIdentity().userId)) throw new ThreadlineError('THREADLINE_RATE_LIMITED')
  }

  return {
    count,

    async perform (command, performOptions = {}) {
      return await countingRequest(command.type, async () => {
        await count()
        return await performCommand(command, performOptions, options)
      })
    },

    async exportThread (threadId, format) {
      await count()
      const identity = await identityOfCommand({ type: 'get_thread', payload: { thread_id: threadId } }, undefined, tools.storage.threads)
      return await enterWithin(identity, () => asHandler('export_thread', () => exportThread(format, tools.storage)))
    },

    async eraseUser () {
      await count()
      const erased = await asHandler('erase_user', () => eraseUser(tools))
      announcements.erased()
      return erased
    },

    tell (type, payload) { announcements.toUser(type, payload) }
  }
}

async function asHandler<T> (operation: string, work: () => Promise<T>): Promise<T> {
  return await withHop('handler', { attributes: { [attributes.command]: operation } }, work)
}
