import type { ErrorCode } from '../../../lib/errors.ts'
import type { MultitaskStrategy } from '../../../lib/protocol/commands.ts'
import type { ServerEvent } from '../../../lib/protocol/events.ts'
import { isCalm, type Conversations } from './conversations.ts'
import {
  expectStops, isHeld, knowThread, mayBeUnfinished, messagesIn, threadOf, type ModelUser, type SentMessage, type StopReason
} from './model.ts'
import { isEvent } from '../is-event.ts'
import type { Tab } from './tab.ts'

/** Unfinished runs that may stand before a message. */
export const maxWaiting = 4

interface What extends Pick<SentMessage, 'named' | 'strategy' | 'plan'>, Partial<Pick<SentMessage, 'kind' | 'about'>> {}

/** What was known when a message was sent. */
interface Sending {
  readonly message: SentMessage
  readonly tab: Tab
  /** The thread that it must go to; undefined when that cannot be said. */
  readonly target: string | undefined
  readonly changes: number
  /** It has to make a thread. */
  readonly alone: boolean
  /** Nothing else of the user was under way. */
  readonly certain: boolean
  readonly before: SentMessage['answer']
  readonly held: number
  /** Runs of its thread that may have been unfinished when it was sent: that they have ended may be told before its answer. */
  readonly unfinished: number
}

const stops: Partial<Record<MultitaskStrategy, StopReason>> = { interrupt: 'interrupted', rollback: 'rolled_back' }

export function writeMessage (user: ModelUser, { named, strategy, plan, kind = 'message', about }: What): SentMessage {
  const marker = `${user.name}:${user.messages.length}`
  const message: SentMessage = {
    id: `${kind} ${marker}`,
    kind,
    about,
    marker: kind === 'regeneration' && about !== undefined ? about.marker : marker,
    named,
    strategy,
    plan,
    sent: false,
    astray: false,
    answer: 'none',
    threadId: undefined,
    messageId: undefined,
    runId: undefined,
    opened: false,
    stops: [],
    mustStop: false
  }
  user.messages.push(message)
  return message
}

/** Sends a message, for the first time or once more under its id. */
export async function sendMessage (conversations: Conversations, user: ModelUser, tab: Tab, message: SentMessage, wait: boolean): Promise<void> {
  // One that has been sent before may have been accepted wherever that was.
  const first = !message.sent
  const here = isCalm(user, tab) && first && changesOf(user, tab.threadId ?? '') === 0 ? tab.threadId ?? undefined : undefined
  const target = message.threadId ?? message.named ?? here
  if (message.sent && message.answer === 'none') sendTwice(user, message)
  message.sent = true
  const sending: Sending = {
    message,
    tab,
    target,
    changes: changesOf(user, target),
    alone: wait && isCalm(user, tab) && message.named === undefined && message.answer === 'none' && first && tab.threadId === null,
    certain: wait && isCalm(user, tab),
    before: message.answer,
    unfinished: unfinishedBeside(conversations, user, message, target),
    held: target === undefined ? 0 : messagesIn(user, target).filter(isHeld).length
  }
  message.stops.push(...user.stopsUnderWay)
  const reason = stops[message.strategy]
  if (reason !== undefined && message.answer !== 'accepted') expectStops(user, target, reason, { before: message })
  await conversations.ask(user, tab, commandOf(message), { wait, stops: reason, judge: (answer) => { judge(conversations, user, sending, answer) } })
}

/** Without a thread in it, it goes to where it comes first, and stops what stands before it there. Nodes do not wait for each other. */
function sendTwice (user: ModelUser, message: SentMessage): void {
  if (message.named !== undefined || message.threadId !== undefined) return
  message.astray = true
  if (stops[message.strategy] !== undefined) for (const other of user.messages) other.mustStop = false
}

function commandOf ({ id, kind, about, marker, threadId, named, strategy, plan }: SentMessage) {
  const thread = threadId ?? named
  const envelope = { id, ...(thread === undefined ? {} : { thread_id: thread }) }
  if (kind === 'regeneration') {
    return { type: 'regenerate', ...envelope, payload: { message_id: about?.messageId, agent: 'planned', multitask_strategy: strategy } }
  }
  const payload = { content: marker, agent: 'planned', multitask_strategy: strategy, metadata: { plan } }
  return { type: 'user_message', ...envelope, payload: kind === 'edit' ? { ...payload, edit_of: about?.messageId } : payload }
}

/** Messages that can be edited or answered once more. */
export function acceptedOf (user: ModelUser): readonly SentMessage[] {
  return user.messages.filter(({ kind, answer }) => kind !== 'regeneration' && answer === 'accepted')
}

/** The message may have been removed with its run. */
export function mayBeGone ({ stops }: SentMessage): boolean {
  return stops.includes('rolled_back')
}

/** Sends something else under the id of a message that was accepted. */
export async function reuseId (conversations: Conversations, user: ModelUser, tab: Tab, { id, marker, threadId = '' }: SentMessage): Promise<void> {
  const judge = (answer: ServerEvent): void => {
    const code = isEvent(answer, 'error') ? answer.payload.code : answer.type
    const gone = code === 'THREADLINE_THREAD_NOT_FOUND' && threadOf(user, threadId)?.deleted === true
    if (code !== 'THREADLINE_CONFLICT' && !gone) conversations.fault(`${id}: its id was used for something else, and answered with ${code}`)
  }
  const payload = { content: `${marker} changed`, agent: 'planned' }
  await conversations.ask(user, tab, { type: 'user_message', id, thread_id: threadId, payload }, { judge })
}

function judge (conversations: Conversations, user: ModelUser, sending: Sending, answer: ServerEvent): void {
  const fault = (fault: string): void => { conversations.fault(`${sending.message.id} (${sending.message.strategy}): ${fault}`) }
  if (isEvent(answer, sending.message.kind === 'regeneration' ? 'run_created' : 'message_accepted')) judgeAcceptance(user, sending, answer, fault)
  else if (isEvent(answer, 'error')) judgeRefusal(conversations, user, sending, answer.payload.code, fault)
  else fault(`answered with ${answer.type}`)
}

function judgeAcceptance (user: ModelUser, sending: Sending, answer: ServerEvent<'message_accepted' | 'run_created'>, fault: (fault: string) => void): void {
  const { message, target, certain, before } = sending
  const { message_id: messageId, run_id: runId, duplicate } = answer.payload
  const threadId = answer.thread_id ?? ''
  const deleted = threadOf(user, threadId)?.deleted === true
  if (before === 'accepted' && !duplicate) fault('accepted for a second time')
  if (before === 'refused' && duplicate && certain) fault('accepted before it was refused')
  if (message.runId !== undefined && (message.runId !== runId || message.messageId !== messageId)) fault('has become another one')
  if (target !== undefined && target !== threadId && !message.astray) fault(`went to ${threadId} instead of ${target}`)
  if (answer.run_id !== runId || !runId.includes(threadId)) fault(`told with run ${answer.run_id} for ${runId}`)
  if (certain && deleted) fault('accepted in a thread that is deleted')
  if (certain && !duplicate && message.strategy === 'reject' && sending.held > 0) fault('accepted although a run is unfinished')
  if (certain && !duplicate && sending.held > maxWaiting) fault('accepted although too many wait')
  knowThread(user, threadId)
  Object.assign(message, { answer: 'accepted', threadId, messageId, runId })
}

function judgeRefusal (conversations: Conversations, user: ModelUser, sending: Sending, code: ErrorCode, fault: (fault: string) => void): void {
  const { message, target, changes, before, alone } = sending
  const unfinished = Math.max(sending.unfinished, unfinishedBeside(conversations, user, message, target))
  const possible: Partial<Record<ErrorCode, boolean>> = {
    THREADLINE_THREAD_NOT_FOUND: target === undefined
      ? !alone && user.threads.some((thread) => thread.changes > 0)
      : threadOf(user, target)?.deleted === true || changesOf(user, target) !== changes,
    THREADLINE_NOT_FOUND: before !== 'accepted' && message.about !== undefined && mayBeGone(message.about),
    THREADLINE_THREAD_BUSY: before !== 'accepted' && message.strategy === 'reject' && unfinished > 0,
    THREADLINE_QUEUE_FULL: before !== 'accepted' && unfinished > maxWaiting
  }
  if (possible[code] !== true) fault(`refused with ${code}`)
  if (before !== 'accepted' && message.answer === 'none') message.answer = 'refused'
}

function unfinishedBeside ({ model }: Conversations, user: ModelUser, message: SentMessage, target: string | undefined): number {
  const others = user.messages.filter((other) => other !== message && (target === undefined || (other.threadId ?? target) === target))
  return others.filter((other) => mayBeUnfinished(model, other)).length
}

function changesOf (user: ModelUser, threadId: string | undefined): number {
  return threadOf(user, threadId ?? '')?.changes ?? 0
}
