import type { MultitaskStrategy } from '../../../lib/protocol/commands.ts'
import { tabCount, userCount } from './actions.ts'
import type { PlanStep } from './planned-agent.ts'

/** What a user has sent to be answered. What became of it is known once it was answered. */
export interface SentMessage {
  /** The client's own id. */
  readonly id: string
  /** An edit stands beside the message that it is about; a regeneration is no message, but one more answer to that one. */
  readonly kind: 'message' | 'edit' | 'regeneration'
  readonly about: SentMessage | undefined
  /** The content, which is in all that its run tells. */
  readonly marker: string
  /** The thread that it names; without it, it goes to the connection's. */
  readonly named: string | undefined
  readonly strategy: MultitaskStrategy
  readonly plan: readonly PlanStep[]
  sent: boolean
  /** It was sent again before it was answered, and names no thread: nobody knows where it comes first. */
  astray: boolean
  answer: 'none' | 'accepted' | 'refused'
  threadId: string | undefined
  messageId: string | undefined
  runId: string | undefined
  /** Its run was let through its gates. */
  opened: boolean
  /** Why somebody asked for the end of its run, or may have. */
  readonly stops: StopReason[]
  /** It was asked for while the run was held at a gate for certain: the run cannot have ended otherwise. */
  mustStop: boolean
}

/** What the end of a run that was stopped says. */
export type StopReason = 'cancelled' | 'interrupted' | 'rolled_back'

export interface KnownThread {
  readonly threadId: string
  deleted: boolean
  /** Counts deletions and restorations, so that a late answer can be told from a wrong one. */
  changes: number
}

export interface ModelUser {
  readonly name: string
  readonly threads: KnownThread[]
  readonly messages: SentMessage[]
  /** Which of the tabs have a connection. */
  readonly connected: boolean[]
  /** Commands that have been sent and not answered. */
  unanswered: number
  /** What of these may stop runs, and why those end then. */
  readonly stopsUnderWay: StopReason[]
}

/** What must be true of the conversations, by what users did and were told. */
export interface Model {
  readonly users: readonly ModelUser[]
  /** Runs whose end somebody was told. */
  readonly ended: Set<string>
}

/** Users under names that nobody else has. */
export function createModel (scope: string): Model {
  const users = Array.from({ length: userCount }, (_, index): ModelUser => ({
    name: `${scope}-${String.fromCharCode(97 + index)}`,
    threads: [],
    messages: [],
    connected: Array.from({ length: tabCount }, () => false),
    unanswered: 0,
    stopsUnderWay: []
  }))
  return { users, ended: new Set() }
}

export function pick<T> (list: readonly T[], number: number): T | undefined {
  return list[number % list.length]
}

export function userOf (model: Model, index: number): ModelUser {
  const user = model.users[index]
  if (user === undefined) throw new RangeError(`There is no user ${index}`)
  return user
}

export function threadOf (user: ModelUser, threadId: string): KnownThread | undefined {
  return user.threads.find((thread) => thread.threadId === threadId)
}

/** Notes a thread that the user has been told of. */
export function knowThread (user: ModelUser, threadId: string): void {
  if (threadOf(user, threadId) === undefined) user.threads.push({ threadId, deleted: false, changes: 0 })
}

export function messagesIn (user: ModelUser, threadId: string): readonly SentMessage[] {
  return user.messages.filter((message) => message.threadId === threadId)
}

/** Its run waits at a gate, or behind another one that does, and nobody has asked for its end: it is unfinished for certain. */
export function isHeld ({ answer, plan, opened, stops }: SentMessage): boolean {
  const failure = plan.indexOf('failure')
  const gate = plan.indexOf('gate')
  return answer === 'accepted' && !opened && stops.length === 0 && gate !== -1 && (failure === -1 || gate < failure)
}

/** Its run may be unfinished: nobody was told of its end. */
export function mayBeUnfinished (model: Model, { answer, runId }: SentMessage): boolean {
  return answer === 'none' || (answer === 'accepted' && !model.ended.has(runId ?? ''))
}

/** Somebody asks for the end of runs: those of a thread that stand before a message, or one of them. Where the thread is not known, it may be any. */
export function expectStops (
  user: ModelUser, threadId: string | undefined, reason: StopReason, which: { readonly runId?: string | undefined, readonly before?: SentMessage } = {}
): void {
  for (const message of user.messages) {
    if (message === which.before) return
    const concerned = threadId === undefined || message.threadId === undefined || message.threadId === threadId
    if (!concerned || (which.runId !== undefined && message.runId !== which.runId)) continue
    message.mustStop = threadId !== undefined && isHeld(message)
    message.stops.push(reason)
  }
}
