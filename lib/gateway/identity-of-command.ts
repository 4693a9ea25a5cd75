import { currentIdentity } from '../context/current-thread.ts'
import { createIdentity, type Identity } from '../context/identity.ts'
import { ThreadlineError } from '../errors.ts'
import type { CommandNeeds } from '../handlers/handler.ts'
import { commandNeeds } from '../handlers/handlers.ts'
import type { Command } from '../protocol/commands.ts'
import { newRunId, newThreadId, toThreadId, type ThreadId } from '../protocol/ids.ts'
import type { ThreadStore } from '../stores/thread-store.ts'

/**
 * The identity under which a command is carried out, whatever transport it came by: user, connection and request are those of the
 * active identity; the thread is the one that the command names, else the connection's (`bound`), else, where it may be, a new one. Throws
 * `THREADLINE_THREAD_NOT_FOUND` for a thread that is not the user's, and `THREADLINE_THREAD_REQUIRED`.
 */
export async function identityOfCommand (command: Command, bound: ThreadId | undefined, threads: ThreadStore): Promise<Identity> {
  const needs = commandNeeds[command.type]
  const [named, ...more] = new Set(namedThreads(command))
  if (named !== undefined) await threads.require(toThreadId(named), { deleted: needs.deleted ?? false })
  for (const other of more) await threads.require(toThreadId(other))
  const { threadId, created } = threadFor(needs, named, bound)
  const { userId, connectionId, requestId } = currentIdentity()
  return createIdentity({
    userId,
    connectionId,
    requestId,
    threadId,
    ...(needs.run && threadId !== undefined ? { runId: newRunId(threadId) } : {}),
    ...(created ? { data: { new_thread: true } } : {})
  })
}

/** The threads that the command itself names, whoever they belong to. The one that it is about comes first. */
export function namedThreads (command: Command): readonly string[] {
  const target = 'thread_id' in command.payload ? command.payload.thread_id : undefined
  return [target, command.thread_id].filter((named) => named !== undefined)
}

function threadFor (needs: CommandNeeds, named: string | undefined, bound: ThreadId | undefined): { threadId: ThreadId | undefined, created: boolean } {
  const threadId = named === undefined ? bound : toThreadId(named)
  if (threadId !== undefined || needs.thread === 'none') return { threadId, created: false }
  if (needs.thread === 'created') return { threadId: newThreadId(), created: true }
  throw new ThreadlineError('THREADLINE_THREAD_REQUIRED')
}
