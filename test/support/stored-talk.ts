import type { Identity } from '../../lib/context/identity.ts'
import { newMessageId, newThreadId, type MessageId, type RunId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { MessagePage } from '../../lib/stores/message-store.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { AcceptedMessage, Regeneration } from '../../lib/stores/run-store.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { as, completionOf, lease, messageOf, newcomer, regenerationOf } from './storage-databases.ts'

/** A user with a thread of their own, and what happens in it. */
export interface StoredTalk {
  readonly alice: Identity
  readonly threadId: ThreadId
  readonly say: (content: string, changes?: Partial<AcceptedMessage>) => Promise<AcceptedMessage>
  readonly again: (changes?: Partial<Regeneration>) => Promise<Regeneration>
  /** The oldest run that waits, claimed. */
  readonly claim: () => Promise<RunRecord>
  /** Ends the oldest run that waits. */
  readonly answer: (content: string) => Promise<MessageId>
  readonly stop: (run: { readonly runId: RunId }) => Promise<void>
  readonly roll: (run: { readonly runId: RunId }) => Promise<void>
  readonly page: () => Promise<MessagePage['messages']>
  /** What is said on the visible branch. */
  readonly branch: () => Promise<readonly string[]>
}

/** A new thread of somebody new, in which each line was said and answered. */
export async function startTalk (storage: Storage, lines: readonly string[]): Promise<StoredTalk> {
  const { messages, runs, events } = storage
  const alice = newcomer()
  const threadId = newThreadId()
  await as(alice, async () => await storage.threads.create(threadId))
  const cancel = async ({ runId }: { readonly runId: RunId }, reason: 'cancelled' | 'rolled_back'): Promise<void> => {
    const run = await as(alice, async () => await runs.require(runId))
    await events.append([completionOf(run, { status: 'cancelled', reason })])
  }
  const talk: StoredTalk = {
    alice,
    threadId,
    say: async (content, changes) => {
      const message = messageOf({ threadId, content, ...changes })
      await as(alice, async () => await runs.accept(message))
      return message
    },
    again: async (changes) => {
      const run = regenerationOf({ threadId, ...changes })
      await as(alice, async () => await runs.regenerate(run))
      return run
    },
    claim: async () => {
      const run = await as(alice, async () => await runs.claimNext(threadId, lease))
      if (run === undefined) throw new Error('There was nothing to claim')
      return run
    },
    answer: async (content) => {
      const id = newMessageId()
      await events.append([completionOf(await talk.claim(), { message_id: id, content })])
      return id
    },
    stop: async (run) => { await cancel(run, 'cancelled') },
    roll: async (run) => { await cancel(run, 'rolled_back') },
    page: async () => (await as(alice, async () => await messages.history(threadId, { limit: 50 }))).messages,
    branch: async () => (await talk.page()).map(({ content }) => content)
  }
  for (const line of lines) {
    await talk.say(line)
    await talk.answer(`${line}!`)
  }
  return talk
}
