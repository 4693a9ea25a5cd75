import { bindIterable } from '../context/bind.ts'
import { currentThread } from '../context/current-thread.ts'
import type { MessageView, ThreadView } from '../protocol/events.ts'
import { toMessageId, type MessageId, type RunId } from '../protocol/ids.ts'
import type { MessagePage } from '../stores/message-store.ts'
import type { Storage } from '../stores/storage.ts'
import { toRunView } from './run-view.ts'

export type ExportFormat = 'json' | 'markdown'

export interface ThreadExport {
  readonly thread: ThreadView
  /** In order. Reads on as it is asked for more, a page at a time; throws when the storage does, and is then not whole. */
  readonly text: AsyncIterable<string>
}

const pageSize = 50
const runPageSize = 100

/**
 * The active thread as text: its visible branch from the beginning, and as JSON its runs as well, newest first. What comes to the
 * thread later is not in it. A page of messages is held at a time, and one id for each of the pages that follow.
 */
export async function exportThread (format: ExportFormat, storage: Storage): Promise<ThreadExport> {
  const { threadId } = currentThread()
  const thread = await storage.threads.require(threadId)
  const newest = await storage.messages.history(threadId, { limit: pageSize })
  const messages = fromTheBeginning(newest, storage)
  const text = format === 'json' ? toJson(thread, messages, storage) : toMarkdown(thread, messages)
  return { thread, text: bindIterable(text) }
}

/** History is read from its end: on the way to the beginning, where each page ends is noted. */
async function * fromTheBeginning (newest: MessagePage, { messages }: Storage): AsyncGenerator<MessageView> {
  const { threadId } = currentThread()
  const ends: MessageId[] = []
  let page = newest
  while (page.hasMore) {
    const before = toMessageId(page.messages[0]?.message_id)
    ends.push(before)
    page = await messages.history(threadId, { limit: pageSize, before })
  }
  yield * page.messages
  if (ends.length === 0) return
  for (const before of ends.slice(0, -1).toReversed()) yield * (await messages.history(threadId, { limit: pageSize, before })).messages
  yield * newest.messages
}

async function * toJson (thread: ThreadView, messages: AsyncIterable<MessageView>, storage: Storage): AsyncGenerator<string> {
  yield `{"exported_at":${JSON.stringify(new Date().toISOString())},"thread":${JSON.stringify(thread)},"messages":[`
  yield * separated(messages)
  yield '],"runs":['
  yield * separated(runsOf(storage))
  yield ']}\n'
}

async function * separated (items: AsyncIterable<object>): AsyncGenerator<string> {
  let separator = ''
  for await (const item of items) {
    yield `${separator}${JSON.stringify(item)}`
    separator = ','
  }
}

async function * runsOf ({ runs }: Storage) {
  const { threadId } = currentThread()
  let before: RunId | undefined
  do {
    const page = await runs.list(threadId, { limit: runPageSize, before })
    yield * page.runs.map(toRunView)
    before = page.hasMore ? page.runs.at(-1)?.runId : undefined
  } while (before !== undefined)
}

async function * toMarkdown (thread: ThreadView, messages: AsyncIterable<MessageView>): AsyncGenerator<string> {
  yield `# ${onOneLine(thread.title ?? 'Conversation')}\n\nThread ${thread.thread_id}, begun ${thread.created_at}\n`
  for await (const { role, created_at: createdAt, content } of messages) {
    yield `\n## ${role === 'user' ? 'User' : 'Assistant'}, ${createdAt}\n\n${content}\n`
  }
}

function onOneLine (text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim()
}
