import { isThreadlineError } from '../../../lib/errors.ts'
import type { MessageView } from '../../../lib/protocol/events.ts'
import { toMessageId, type ThreadId } from '../../../lib/protocol/ids.ts'
import type { MessageStore } from '../../../lib/stores/message-store.ts'
import { endOf, eventsOf, type AcceptedOne, type ThreadRecord } from './check-thread.ts'

/** All messages of a thread of the active user, on whatever branch, by their ids: those that are known, and those beside them. */
export async function readTree (messages: MessageStore, threadId: ThreadId, known: readonly string[]): Promise<ReadonlyMap<string, MessageView>> {
  const views = new Map<string, MessageView>()
  const read = async (): Promise<void> => {
    const page = await messages.history(threadId, { limit: 1_000 })
    for (const message of page.messages) views.set(message.message_id, message)
  }
  await read()
  const tried = new Set<string>()
  const wanted = (): string | undefined => [...known, ...[...views.values()].flatMap((message) => message.sibling_ids)]
    .find((id) => !views.has(id) && !tried.has(id))
  for (let id = wanted(); id !== undefined; id = wanted()) {
    tried.add(id)
    try {
      await messages.selectBranch(threadId, toMessageId(id))
      await read()
    } catch (error) {
      if (!isThreadlineError(error, 'THREADLINE_NOT_FOUND')) throw error // who compares will miss it
    }
  }
  return views
}

/** The messages that the thread must have, by what was accepted and how the runs ended, each with its content. */
export function expectedMessages (record: ThreadRecord, accepted: readonly AcceptedOne[]): ReadonlyMap<string, string> {
  const expected = new Map<string, string>()
  for (const { runId, messageId, content } of accepted) {
    const end = endOf(eventsOf(record, runId))
    if (end?.reason !== 'rolled_back') expected.set(messageId, content)
    if (end?.message_id !== undefined && end.content !== undefined) expected.set(end.message_id, end.content)
  }
  return expected
}

/** What is wrong with the tree of a thread's messages. */
export function faultsOfTree (record: ThreadRecord, tree: ReadonlyMap<string, MessageView>, accepted: readonly AcceptedOne[]): readonly string[] {
  const expected = expectedMessages(record, accepted)
  const children = Map.groupBy(tree.values(), (message) => message.parent_id)
  const lost = [...expected.keys()].filter((id) => !tree.has(id)).map((id) => `message ${id} is lost`)
  const wrong = [...tree.values()].flatMap((message) => faultsOfMessage(message, record, expected, children))
  return [...lost, ...wrong, ...faultsOfBranch(record, children)].map((fault) => `thread ${record.threadId}: ${fault}`)
}

type Children = ReadonlyMap<string | null, readonly MessageView[]>

function faultsOfMessage (message: MessageView, record: ThreadRecord, expected: ReadonlyMap<string, string>, children: Children): readonly string[] {
  const { message_id: id, parent_id: parent, role, content } = message
  const siblings = (children.get(parent) ?? []).filter((sibling) => sibling.role === role).map((sibling) => sibling.message_id)
  const faults: string[] = []
  if (expected.get(id) !== content) faults.push(`is ${JSON.stringify(content)} instead of ${JSON.stringify(expected.get(id))}`)
  if (parent !== null && !expected.has(parent)) faults.push(`follows ${parent}, which is no more`)
  if (siblings.length !== message.sibling_ids.length || siblings.some((sibling) => !message.sibling_ids.includes(sibling))) {
    faults.push(`has the siblings ${message.sibling_ids.join(', ')} instead of ${siblings.join(', ')}`)
  }
  const answered = record.runs.find(({ runId }) => runId === message.run_id)?.messageId
  if (message.role === 'assistant' && parent !== answered) faults.push(`follows ${parent} instead of ${answered}, which it answers`)
  return faults.map((fault) => `message ${id} ${fault}`)
}

/** The visible branch leads from a beginning to an end. */
function faultsOfBranch ({ messages }: ThreadRecord, children: Children): readonly string[] {
  const broken = messages.filter((message, index) => message.parent_id !== (messages[index - 1]?.message_id ?? null))
  const last = messages.at(-1)
  return [
    ...broken.map(({ message_id: id, parent_id: parent }) => `the branch has ${id} in the wrong place, whose parent is ${parent}`),
    ...(last === undefined || !children.has(last.message_id) ? [] : [`the branch ends at ${last.message_id}, which others follow`]),
    ...(last === undefined && children.size > 0 ? ['no branch is visible'] : [])
  ]
}
