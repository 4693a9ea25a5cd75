import type { ServerEvent } from '../../lib/protocol/events.ts'
import { FrameReader } from './frame-reader.ts'
import type { ServerAddress } from './measured-server.ts'

/** A thread in which one run has told something, and where it stands. */
export interface ToldThread { readonly threadId: string, readonly sequence: number, readonly epoch: string }

const isEnd = (frame: Buffer): boolean => frame.includes('"type":"agent_completed"')

/** Makes a thread in which one run has told so many events. */
export async function tellThread ({ url, offers }: ServerAddress, events: number): Promise<ToldThread> {
  const reader = new FrameReader(url, offers[0] ?? [], { keeps: true })
  await reader.more(1)
  await tell(reader, events)
  await reader.close()
  const { thread_id: threadId, sequence, epoch } = JSON.parse(reader.frames.at(-1) ?? '') as ServerEvent // what Threadline sends
  if (threadId === null || sequence === undefined || epoch === undefined) throw new Error('The run has not told its end')
  return { threadId, sequence, epoch }
}

/** A run tells so many events in the thread of the reader; resolves when the reader has received its end. */
export async function tell (reader: FrameReader, events: number): Promise<void> {
  const ended = reader.until(isEnd)
  reader.send({ type: 'user_message', payload: { content: 'Tell me', metadata: { events } } })
  await ended
}

/** Resolves when the reader has received the end of a run that another one has started. */
export async function endOfTelling (reader: FrameReader): Promise<void> {
  await reader.until(isEnd)
}
