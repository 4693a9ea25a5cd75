import { sql } from 'kysely'
import type { ThreadView } from '../protocol/events.ts'
import type { MessageId, ThreadId } from '../protocol/ids.ts'
import { storableText } from './storable-text.ts'
import { onlyRow, toThreadView, viewed, type ThreadRow } from './thread-view.ts'
import type { UnitOfWork } from './unit-of-work.ts'

export interface ForkOptions {
  readonly messageId?: MessageId | undefined
  readonly title?: string | undefined
}

/** Copies the way to a message into a new thread, by `threadline.fork_thread`. */
export async function forkThread (
  unit: UnitOfWork, source: ThreadId, target: ThreadId, { messageId, title }: ForkOptions
): Promise<ThreadView> {
  const columns = sql.join(viewed.map((name) => sql.ref(name)))
  return toThreadView(onlyRow(await unit.lastRows(sql<ThreadRow>`
    select ${columns} from threadline.fork_thread(
      ${source}, ${target}, ${messageId ?? null}, ${storableText(title ?? null, 'title')})`)))
}
