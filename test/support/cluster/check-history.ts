import { checkClient } from './check-client.ts'
import { checkMessages } from './check-messages.ts'
import { checkThread } from './check-thread.ts'
import type { History } from './history.ts'

/** What a history can break. */
export type ViolationKind =
  // A thread's log.
  | 'gap' | 'doubled-sequence' | 'inversion' | 'crossed'
  // Its runs.
  | 'run-without-one-end' | 'broken-story' | 'text-differs' | 'unanswered'
  // What clients have sent.
  | 'lost-message' | 'doubled-message' | 'unknown-message' | 'accepted-differently' | 'unknown-run'
  // What clients were told.
  | 'told-gap' | 'told-twice' | 'told-inversion' | 'told-otherwise' | 'told-beyond' | 'told-crossed' | 'told-too-little' | 'told-anew'

export interface HistoryViolation {
  readonly kind: ViolationKind
  readonly text: string
}

/**
 * All that is wrong with what clients were promised. Pure. Each message that was accepted is there once, with one run that has one end and says what
 * it is kept to have said; each thread's sequences have no gap; each client has been told a part of the log without a gap, in order and
 * unchanged, and all of it where it has stayed to the end; and nothing of one user, thread or message stands where another's should.
 */
export function checkHistory ({ clients, threads }: History): readonly HistoryViolation[] {
  const violations: HistoryViolation[] = threads.flatMap((thread) => [
    ...checkThread(thread),
    ...checkMessages(thread, clients.filter(({ threadId }) => threadId === thread.threadId))
  ])
  for (const client of clients) {
    const thread = threads.find(({ threadId }) => threadId === client.threadId)
    if (thread === undefined) violations.push({ kind: 'unknown-message', text: `${client.name} was in ${client.threadId}, which there is not` })
    else violations.push(...checkClient(client, thread))
  }
  return violations
}

/** For the output of a test: a line each, and not more of them than somebody reads. */
export function tellViolations (violations: readonly HistoryViolation[], limit = 20): readonly string[] {
  const more = violations.length - limit
  const lines = violations.slice(0, limit).map(({ kind, text }) => `${kind}: ${text}`)
  return more > 0 ? [...lines, `and ${more} more`] : lines
}
