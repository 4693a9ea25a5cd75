import { isDeepStrictEqual } from 'node:util'
import type { ThreadEvent } from '../../../lib/protocol/events.ts'
import { isRunId, toThreadId } from '../../../lib/protocol/ids.ts'
import { asUser } from '../stored-thread.ts'
import { endOf, eventsOf, faultsOfThread, saidIn, type ThreadRecord } from './check-thread.ts'
import { usersOf, type Conversations } from './conversations.ts'
import type { ModelUser, SentMessage } from './model.ts'
import { pieceOf } from './planned-agent.ts'
import { sendMessage } from './send-message.ts'
import { isEvent, type Snapshot, type Tab } from './tab.ts'

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
      await conversations.ask(user, tab, { type: 'restore_thread', id: crypto.randomUUID(), payload: { thread_id: thread.threadId } }, (answer) => {
        if (!isEvent(answer, 'thread_updated')) conversations.fault(`${user.name}: ${thread.threadId} was not restored: ${JSON.stringify(answer)}`)
        thread.deleted = false
      })
    }
    for (const message of user.messages.filter(({ answer }) => answer === 'none')) await sendMessage(conversations, user, tab, message, true)
    for (const message of user.messages) conversations.open(message)
    for (const { runId } of user.messages) if (isRunId(runId)) await conversations.ended(user, runId)
  }))
}

async function readAll ({ server }: Conversations, user: ModelUser): Promise<readonly ThreadRecord[]> {
  const { storage } = server.app
  return await asUser(user.name, async () => await Promise.all(user.threads.map(async ({ threadId: name }) => {
    const threadId = toThreadId(name)
    const { messages } = await storage.messages.history(threadId, { limit: 1_000 })
    const { runs } = await storage.runs.list(threadId, { limit: 1_000 })
    const events = await storage.events.read(threadId, 0, 10_000)
    if (events === 'expired') throw new Error('Nothing was purged')
    return { threadId, user: user.name, messages, runs: runs.toReversed(), events }
  })))
}

/** The tab comes back to each thread that it knows, where it had left it, and reads to the end. */
async function catchUp (tab: Tab, records: readonly ThreadRecord[]): Promise<void> {
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

/** Whether the tab has read what is stored, up to the end. */
function faultsOfReading (tab: Tab, record: ThreadRecord): readonly string[] {
  const reading = tab.readings.get(record.threadId)
  if (reading?.last === undefined) return []
  const stored = new Map(record.events.map((event) => [event.sequence, event]))
  const different = [...reading.events.values()].filter((event) => !isDeepStrictEqual(event, stored.get(event.sequence)))
  const snapshots = tab.snapshots.filter(({ threadId }) => threadId === record.threadId)
  return [
    ...different.map((event) => `${tab.name} was told ${JSON.stringify(event)} instead of ${JSON.stringify(stored.get(event.sequence))}`),
    ...(reading.last.after === record.events.length ? [] : [`${tab.name} has read to ${reading.last.after} of ${record.events.length} in ${record.threadId}`]),
    ...snapshots.flatMap((snapshot) => faultsOfSnapshot(snapshot, record).map((fault) => `${tab.name} at ${snapshot.sequence} of ${record.threadId}: ${fault}`))
  ]
}

/** What a tab was told of a thread, against the events up to there. */
function faultsOfSnapshot ({ sequence, activeRuns, messages }: Snapshot, record: ThreadRecord): readonly string[] {
  const until = (runId: string): readonly ThreadEvent[] => eventsOf(record, runId).filter((event) => event.sequence <= sequence)
  const faults = activeRuns.flatMap(({ run_id: runId, text, status }) => [
    ...(record.runs.some((run) => run.runId === runId) ? [] : [`${runId} is not its own`]),
    ...(endOf(until(runId)) === undefined ? [] : [`${runId} has ended and is active`]),
    ...(text === saidIn(until(runId)) ? [] : [`${runId} is told to have said ${JSON.stringify(text)} instead of ${JSON.stringify(saidIn(until(runId)))}`]),
    ...(status === 'queued' && until(runId).length > 0 ? [`${runId} has started and is queued`] : [])
  ])
  const active = new Set(activeRuns.map((run) => run.run_id))
  const forgotten = record.runs.filter(({ runId }) => until(runId).length > 0 && endOf(until(runId)) === undefined && !active.has(runId))
  faults.push(...forgotten.map(({ runId }) => `${runId} is active, and not told`))
  if (messages === undefined) return faults
  if (messages.some((message) => message.thread_id !== record.threadId)) faults.push('told messages of another thread')
  const told = new Set(messages.map((message) => message.message_id))
  const due = record.messages.filter(({ run_id: runId }) => endOf(until(runId ?? '')) !== undefined)
  const lost = messages.length >= 50 ? [] : due.filter((message) => !told.has(message.message_id))
  return [...faults, ...lost.map((message) => `message ${message.message_id} is not told`)]
}
