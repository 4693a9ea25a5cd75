import type { MessageView, ServerEvent } from '../../../lib/protocol/events.ts'
import { isRunId, toThreadId } from '../../../lib/protocol/ids.ts'
import { asUser, readThread } from '../stored-thread.ts'
import { faultsOfReading } from './check-reading.ts'
import { endOf, eventsOf, faultsOfThread, saidIn, type ThreadRecord } from './check-thread.ts'
import { expectedMessages, faultsOfTree, readTree } from './check-tree.ts'
import { usersOf, type Conversations } from './conversations.ts'
import type { ModelUser, SentMessage } from './model.ts'
import { pieceOf } from './planned-agent.ts'
import { sendMessage } from './send-message.ts'
import { isEvent } from '../is-event.ts'
import type { Tab } from './tab.ts'

/**
 * Brings everything to its end, and compares what is stored with what everybody was told. Returns what is wrong. Nobody is
 * connected any more when it resolves.
 */
export async function checkConversations (conversations: Conversations): Promise<readonly string[]> {
  await bringToEnd(conversations)
  const users = await Promise.all(usersOf(conversations).map(async ({ user, tabs }) => ({ user, tabs, records: await readAll(conversations, user) })))
  await Promise.all(users.flatMap(({ tabs, records }) => tabs.map((tab) => catchUp(tab, records))))
  await Promise.all(conversations.tabs.flat().map((tab) => tab.disconnect(true)))
  await conversations.idle()
  const faults = users.flatMap(({ user, tabs, records }) => [
    ...records.flatMap((record) => faultsOfThread(record, acceptedIn(user, record))),
    ...records.flatMap((record) => faultsOfTree(record, record.tree, acceptedIn(user, record))),
    ...records.flatMap((record) => user.messages.flatMap((message) => message.threadId === record.threadId ? faultsOfMessage(message, record) : [])),
    ...tabs.flatMap((tab) => records.flatMap((record) => faultsOfReading(tab, record)))
  ])
  const refused = conversations.server.violations.map((violation) => `the guard refused ${JSON.stringify(violation)}`)
  return [...conversations.faults, ...faults, ...refused]
}

/** Every deleted thread is restored, every message that was not answered is sent again, every run lives to its end. */
async function bringToEnd (conversations: Conversations): Promise<void> {
  await conversations.allAnswered()
  await Promise.all(usersOf(conversations).map(async ({ user, tabs }) => {
    const [tab] = tabs
    if (tab === undefined) return
    if (!tab.connected) await tab.connect()
    for (const thread of user.threads.filter(({ deleted }) => deleted)) {
      const judge = (answer: ServerEvent): void => {
        if (!isEvent(answer, 'thread_updated')) conversations.fault(`${user.name}: ${thread.threadId} was not restored: ${JSON.stringify(answer)}`)
        thread.deleted = false
      }
      await conversations.ask(user, tab, { type: 'restore_thread', id: crypto.randomUUID(), payload: { thread_id: thread.threadId } }, { judge })
    }
    for (const message of user.messages.filter(({ answer }) => answer === 'none')) await sendMessage(conversations, user, tab, message, true)
    for (const message of user.messages) conversations.open(user, message)
    for (const { runId } of user.messages) if (isRunId(runId)) await conversations.ended(user, runId)
  }))
}

interface FullRecord extends ThreadRecord { readonly tree: ReadonlyMap<string, MessageView> }

async function readAll ({ server }: Conversations, user: ModelUser): Promise<readonly FullRecord[]> {
  const { storage } = server.app
  return await Promise.all(user.threads.map(async ({ threadId: name }) => {
    const threadId = toThreadId(name)
    const { messages, runs, events } = await readThread(storage, user.name, threadId)
    const branched = user.messages.some((message) => message.threadId === name && message.kind !== 'message')
    const record = { threadId, user: user.name, messages, runs: runs.toReversed(), events, branched }
    const expected = [...expectedMessages(record, acceptedIn(user, record)).keys()]
    return { ...record, tree: await asUser(user.name, async () => await readTree(storage.messages, threadId, expected)) }
  }))
}

/** The tab, where it is connected, is told of everything as it happens; then it comes back to each thread that it knows, where it had left it, and reads to the end. */
async function catchUp (tab: Tab, records: readonly ThreadRecord[]): Promise<void> {
  await tab.toldTo(records.find(({ threadId }) => threadId === tab.threadId)?.events.length ?? 0)
  for (const { threadId } of records) {
    const from = tab.readings.get(threadId)?.last
    if (from === undefined) continue
    await tab.settled()
    await tab.disconnect(false)
    const refusal = await tab.connect(threadId, tab.positionIn(threadId, 'last'))
    if (refusal !== undefined) throw new Error(`${tab.name} was not let in again: ${JSON.stringify(refusal)}`)
  }
}

function acceptedIn (user: ModelUser, { threadId }: ThreadRecord) {
  return user.messages.flatMap(({ answer, threadId: own, runId, messageId, marker }) =>
    answer === 'accepted' && own === threadId && runId !== undefined && messageId !== undefined ? [{ runId, messageId, content: marker }] : [])
}

/** Whether the run of the message did what it was told, and ended as it had to. */
function faultsOfMessage (message: SentMessage, record: ThreadRecord): readonly string[] {
  const events = eventsOf(record, message.runId ?? '')
  const end = endOf(events)
  const failure = message.plan.indexOf('failure')
  const done = failure === -1 ? message.plan : message.plan.slice(0, failure)
  const text = done.map((step, index) => step === 'text' ? pieceOf(message.marker, index) : '').join('')
  const said = saidIn(events)
  const fault = (fault: string): string => `${message.id}: ${fault}: ${JSON.stringify({ end, message })}`
  if (message.stops.length === 0) {
    const status = failure === -1 ? 'completed' : 'failed'
    return end?.status === status && said === text ? [] : [fault(`did not come to be ${status} with ${JSON.stringify(text)}`)]
  }
  const [reason] = message.stops
  return [
    ...(text.startsWith(said) ? [] : [fault(`said ${said} instead of ${text}`)]),
    ...(message.mustStop && end?.status !== 'cancelled' ? [fault('was not stopped')] : []),
    ...(message.mustStop && message.stops.length === 1 && end?.reason !== reason ? [fault(`was not ${reason}`)] : [])
  ]
}
