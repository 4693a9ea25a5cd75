import { isRunEventType, type ServerEvent } from '../../lib/protocol/events.ts'
import { threadOfRun } from '../../lib/protocol/ids.ts'

/** Whose a socket is: its user, the threads that it has been in, and the runs that were started in them. */
export interface Owned {
  readonly user: string
  readonly threads: readonly string[]
  readonly runs: readonly string[]
}

/**
 * What a socket has received and should not have: events of another user, of a thread that it was not in, or of another run, and
 * events of a run without their thread. An event without any thread concerns its user.
 */
export function strangers (events: readonly ServerEvent[], { user, threads, runs }: Owned): readonly ServerEvent[] {
  return events.filter((event) => {
    const { user_id: userId, thread_id: threadId, run_id: runId } = event
    if (userId !== user) return true
    if (threadId === null) return runId !== undefined || isRunEventType(event.type)
    if (!threads.includes(threadId)) return true
    return runId === undefined ? isRunEventType(event.type) : !runs.includes(runId) || threadOfRun(runId) !== threadId
  })
}
