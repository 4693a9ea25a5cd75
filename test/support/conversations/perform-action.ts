import type { ServerEvent } from '../../../lib/protocol/events.ts'
import { isRunId } from '../../../lib/protocol/ids.ts'
import type { Action, ActionOf } from './actions.ts'
import { isCalm, type Conversations } from './conversations.ts'
import { expectStops, messagesIn, mayBeUnfinished, isHeld, pick, threadOf, userOf, type Model, type ModelUser, type SentMessage } from './model.ts'
import { planOfRegeneration } from './planned-agent.ts'
import { acceptedOf, mayBeGone, reuseId, sendMessage, writeMessage } from './send-message.ts'
import { isEvent } from '../is-event.ts'
import type { Tab } from './tab.ts'
import { changeThread } from './change-thread.ts'
import { trespass } from './trespass.ts'

/** Whether an action can be done now. */
export function isPossible (action: Action, model: Model): boolean {
  const user = userOf(model, action.user)
  switch (action.do) {
    case 'open': return user.messages.length > 0
    case 'finish': return pick(user.threads, action.thread)?.deleted === false
    case 'connect': return user.connected[action.tab] === false && (action.thread === null || user.threads.length > 0)
    default: break
  }
  if (user.connected[action.tab] !== true) return false
  switch (action.do) {
    case 'drop': case 'leave': case 'create': return true
    case 'switch': case 'history': case 'delete': case 'restore': return user.threads.length > 0
    case 'resume': case 'stop': case 'send': return action.thread === null || user.threads.length > 0
    case 'retry': return user.messages.length > 0
    case 'edit': case 'regenerate': case 'select': return acceptedOf(user).length > 0
    case 'trespass': return victimOf(action, model).threads.length > 0
  }
}

/** Does it, and checks what it is answered. */
export async function performAction (action: Action, conversations: Conversations): Promise<void> {
  const { model } = conversations
  const user = userOf(model, action.user)
  switch (action.do) {
    case 'open': return open(action, user, conversations)
    case 'finish': return await finish(action, user, conversations)
    default: break
  }
  const tab = conversations.tab(action.user, action.tab)
  switch (action.do) {
    case 'connect': return await connect(action, user, tab, conversations)
    case 'drop': case 'leave':
      user.connected[action.tab] = false
      return await tab.disconnect(action.do === 'leave')
    case 'switch': return await switchThread(action, user, tab, conversations)
    case 'resume': return await resume(action, user, tab, conversations)
    case 'send': {
      const named = action.thread === null ? undefined : pick(user.threads, action.thread)?.threadId
      const message = writeMessage(user, { named, strategy: action.strategy, plan: action.plan })
      return await sendMessage(conversations, user, tab, message, action.wait)
    }
    case 'edit': case 'regenerate': {
      const about = pick(acceptedOf(user), action.message)
      if (about === undefined) return
      const [kind, plan] = action.do === 'edit' ? ['edit', action.plan] as const : ['regeneration', planOfRegeneration] as const
      const message = writeMessage(user, { named: about.threadId, strategy: action.strategy, plan, kind, about })
      return await sendMessage(conversations, user, tab, message, action.wait)
    }
    case 'select': {
      const message = pick(acceptedOf(user), action.message)
      return message === undefined ? undefined : await selectBranch(message, user, tab, conversations)
    }
    case 'retry': {
      const message = pick(user.messages, action.message)
      if (message === undefined) return
      if (action.changed && message.answer === 'accepted') return await reuseId(conversations, user, tab, message)
      return await sendMessage(conversations, user, tab, message, true)
    }
    case 'stop': return await stop(action, user, tab, conversations)
    case 'history': return await readHistory(action, user, tab, conversations)
    case 'create': case 'delete': case 'restore': return await changeThread(action, user, tab, conversations)
    case 'trespass': return await trespass(action.way, user, tab, victimOf(action, model), action.thread, conversations)
  }
}

function victimOf ({ user, victim }: ActionOf<'trespass'>, model: Model): ModelUser {
  return userOf(model, (user + 1 + victim % (model.users.length - 1)) % model.users.length)
}

function open (action: ActionOf<'open'>, user: ModelUser, conversations: Conversations): void {
  const message = pick(user.messages, action.message)
  if (message !== undefined) conversations.open(user, message)
}

/** Lets everything in a thread come to its end, and waits for it. */
async function finish (action: ActionOf<'finish'>, user: ModelUser, conversations: Conversations): Promise<void> {
  const { threadId = '' } = pick(user.threads, action.thread) ?? {}
  const messages = messagesIn(user, threadId)
  for (const message of messages) conversations.open(user, message)
  for (const { runId } of messages) if (isRunId(runId)) await conversations.ended(user, runId)
}

async function connect (action: ActionOf<'connect'>, user: ModelUser, tab: Tab, conversations: Conversations): Promise<void> {
  const thread = action.thread === null ? undefined : pick(user.threads, action.thread)
  const from = thread === undefined || action.from === null ? undefined : tab.positionIn(thread.threadId, action.from)
  const refusal = await tab.connect(thread?.threadId, from)
  user.connected[action.tab] = refusal === undefined
  const deleted = thread?.deleted === true
  if (refusal === undefined && deleted) conversations.fault(`${tab.name} was let into a deleted thread`)
  if (refusal !== undefined && (!deleted || refusal.status !== 404)) conversations.fault(`${tab.name} was refused with ${JSON.stringify(refusal)}`)
}

async function switchThread (action: ActionOf<'switch'>, user: ModelUser, tab: Tab, conversations: Conversations): Promise<void> {
  const thread = pick(user.threads, action.thread)
  if (thread === undefined) return
  const { threadId, changes, deleted } = thread
  const fault = (fault: string): void => { conversations.fault(`${tab.name}, switching to ${threadId}: ${fault}`) }
  const command = { type: 'switch_thread', id: crypto.randomUUID(), payload: { thread_id: threadId } }
  const judge = (answer: ServerEvent): void => {
    if (isEvent(answer, 'thread_switched')) {
      if (answer.payload.thread.thread_id !== threadId) fault(`came to ${answer.payload.thread.thread_id}`)
      if (deleted && thread.changes === changes) fault('it is deleted')
    } else if (isEvent(answer, 'error') && answer.payload.code === 'THREADLINE_THREAD_NOT_FOUND') {
      if (!deleted && thread.changes === changes) fault('not found')
    } else fault(`answered with ${JSON.stringify(answer)}`)
  }
  await conversations.ask(user, tab, command, { judge, wait: action.wait })
}

async function resume (action: ActionOf<'resume'>, user: ModelUser, tab: Tab, conversations: Conversations): Promise<void> {
  const named = action.thread === null ? undefined : pick(user.threads, action.thread)
  const thread = named ?? threadOf(user, tab.threadId ?? '')
  const changes = thread?.changes
  const certain = action.wait && isCalm(user, tab)
  const id = crypto.randomUUID()
  const from = tab.positionIn(thread?.threadId ?? null, action.from)
  const fault = (fault: string): void => { conversations.fault(`${tab.name}, resuming ${JSON.stringify(action)}: ${fault}`) }
  const expected = { beyond: 'position_unknown', 'other-epoch': 'epoch_changed', last: undefined, older: undefined, zero: undefined }[action.from]
  const judge = (answer: ServerEvent): void => {
    if (isEvent(answer, 'error')) {
      const missing = answer.payload.code === 'THREADLINE_THREAD_NOT_FOUND' && (thread?.deleted === true || thread?.changes !== changes)
      const none = answer.payload.code === 'THREADLINE_THREAD_REQUIRED' && named === undefined && (tab.threadId === null || !certain)
      if (!missing && !none) fault(`refused with ${answer.payload.code}`)
    } else if (isEvent(answer, 'resync_required')) {
      if (answer.payload.reason !== expected && certain) fault(`told to load anew: ${answer.payload.reason}`)
    } else if (!isEvent(answer, 'resumed')) fault(`answered with ${answer.type}`)
    else if (expected !== undefined && certain) fault('resumed from nowhere')
  }
  await conversations.answered(user, tab.resume(id, named?.threadId, from), `resume ${id}`, { judge, wait: action.wait })
}

async function stop (action: ActionOf<'stop'>, user: ModelUser, tab: Tab, conversations: Conversations): Promise<void> {
  const named = action.thread === null ? undefined : pick(user.threads, action.thread)
  const thread = named ?? (isCalm(user, tab) ? threadOf(user, tab.threadId ?? '') : undefined)
  const changes = thread?.changes
  const certain = action.wait && isCalm(user, tab)
  const messages = thread === undefined ? [] : messagesIn(user, thread.threadId)
  const runs = messages.filter(({ runId }) => runId !== undefined)
  const runId = action.run === null ? undefined : pick(runs, action.run)?.runId
  const concerned = messages.filter((message) => runId === undefined || message.runId === runId)
  const held = concerned.filter(isHeld).map((message) => message.runId ?? '')
  const unfinished = concerned.filter((message) => mayBeUnfinished(conversations.model, message)).map((message) => message.runId ?? '')
  const fault = (fault: string): void => { conversations.fault(`${tab.name}, stopping ${runId ?? 'all'} in ${thread?.threadId}: ${fault}`) }
  if (thread?.deleted !== true) expectStops(user, thread?.threadId, 'cancelled', { runId })
  const judge = (answer: ServerEvent): void => {
    if (isEvent(answer, 'runs_stopping')) {
      const stopped = new Set(answer.payload.run_ids)
      if (!certain) return
      if (held.some((run) => !stopped.has(run))) fault(`did not stop ${held.filter((run) => !stopped.has(run)).join(', ')}`)
      if ([...stopped].some((run) => !unfinished.includes(run))) fault(`stopped ${[...stopped].join(', ')}`)
    } else if (isEvent(answer, 'error')) {
      const { code } = answer.payload
      const missing = code === 'THREADLINE_THREAD_NOT_FOUND' && (thread === undefined || thread.deleted || thread.changes !== changes)
      const none = (code === 'THREADLINE_THREAD_REQUIRED' || code === 'THREADLINE_RUN_NOT_FOUND') && named === undefined && !(certain && tab.threadId !== null)
      if (!missing && !none) fault(`refused with ${code}`)
    } else fault(`answered with ${answer.type}`)
  }
  await conversations.ask(user, tab, {
    type: 'stop_agent',
    id: crypto.randomUUID(),
    ...(named === undefined ? {} : { thread_id: named.threadId }),
    payload: runId === undefined ? {} : { run_id: runId }
  }, { judge, wait: action.wait, stops: 'cancelled' })
}

async function readHistory (action: ActionOf<'history'>, user: ModelUser, tab: Tab, conversations: Conversations): Promise<void> {
  const thread = pick(user.threads, action.thread)
  if (thread === undefined) return
  const fault = (fault: string): void => { conversations.fault(`${tab.name}, history of ${thread.threadId}: ${fault}`) }
  const command = { type: 'get_thread_history', id: crypto.randomUUID(), thread_id: thread.threadId, payload: { limit: 200 } }
  const judge = (answer: ServerEvent): void => {
    if (isEvent(answer, 'thread_history')) {
      const { messages } = answer.payload
      if (thread.deleted) fault('it is deleted')
      if (messages.some((message) => message.thread_id !== thread.threadId)) fault('it has messages of another')
      if (new Set(messages.map((message) => message.message_id)).size < messages.length) fault('it has a message twice')
    } else if (!isEvent(answer, 'error') || answer.payload.code !== 'THREADLINE_THREAD_NOT_FOUND' || !thread.deleted) {
      fault(`answered with ${JSON.stringify(answer)}`)
    }
  }
  await conversations.ask(user, tab, command, { judge })
}

async function selectBranch (message: SentMessage, user: ModelUser, tab: Tab, conversations: Conversations): Promise<void> {
  const { threadId = '', messageId = '', id } = message
  const judge = (answer: ServerEvent): void => {
    const code = isEvent(answer, 'error') ? answer.payload.code : answer.type
    const deleted = code === 'THREADLINE_THREAD_NOT_FOUND' && threadOf(user, threadId)?.deleted === true
    const gone = code === 'THREADLINE_NOT_FOUND' && mayBeGone(message)
    const shown = isEvent(answer, 'branch_selected') && (answer.payload.has_more || mayBeGone(message) || answer.payload.messages.some((one) => one.message_id === messageId))
    if (!deleted && !gone && !shown) conversations.fault(`the branch of ${id} was selected, and answered with ${JSON.stringify(answer)}`)
  }
  const command = { type: 'select_branch', id: crypto.randomUUID(), thread_id: threadId, payload: { message_id: messageId } }
  await conversations.ask(user, tab, command, { judge })
}
