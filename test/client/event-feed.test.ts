import t from 'tap'
import { EventFeed } from '../../client/event-feed.ts'
import { ThreadlineClientError } from '../../client/client-error.ts'
import type { ThreadlineEvent } from '../../client/threadline-event.ts'

const event = (number: number): ThreadlineEvent => ({ type: 'pong', event_id: String(number), payload: {} }) as unknown as ThreadlineEvent // only its identity counts
const read = async (events: AsyncIterable<ThreadlineEvent>): Promise<string[]> => {
  const ids: string[] = []
  for await (const { event_id: id } of events) ids.push(id)
  return ids
}

t.test('every reader gets what is pushed after it came, in order, until the end', async (t) => {
  const feed = new EventFeed()
  const early = feed.read()
  feed.push(event(1))
  const late = feed.read()
  feed.push(event(2))
  feed.end()

  t.same(await read(early), ['1', '2'])
  t.same(await read(late), ['2'])
  t.same(await read(feed.read()), [], 'after the end')
})

t.test('a waiting reader is given the event at once', async (t) => {
  const feed = new EventFeed()
  const reader = feed.read()
  const first = reader.next()
  const second = reader.next()

  feed.push(event(1))
  feed.push(event(2))

  t.equal((await first).value?.event_id, '1')
  t.equal((await second).value?.event_id, '2')
})

t.test('G93 a reader that is too slow gets its buffer and then an error; the others are not disturbed', async (t) => {
  const feed = new EventFeed()
  const slow = feed.read({ maxBuffered: 2 })
  const quick = feed.read({ maxBuffered: 3 })

  for (const number of [1, 2, 3]) feed.push(event(number))
  feed.end()

  t.equal((await slow.next()).value?.event_id, '1')
  t.equal((await slow.next()).value?.event_id, '2')
  await t.rejects(slow.next(), { code: 'CLIENT_BUFFER_FULL', retryable: true })
  t.same(await slow.next(), { done: true, value: undefined })
  t.same(await read(quick), ['1', '2', '3'])
})

t.test('a feed that ends with an error tells it to readers that wait, have a buffer, or come later', async (t) => {
  const feed = new EventFeed()
  const waiting = feed.read().next()
  const buffered = feed.read()
  feed.push(event(1))
  const second = feed.read().next()

  feed.end(new ThreadlineClientError('CLIENT_REFUSED'))

  t.equal((await waiting).value?.event_id, '1')
  await t.rejects(read(buffered), { code: 'CLIENT_REFUSED' })
  await t.rejects(second, { code: 'CLIENT_REFUSED' })
  await t.rejects(feed.read().next(), { code: 'CLIENT_REFUSED' })
})

t.test('a reader that leaves its loop gets nothing more', async (t) => {
  const feed = new EventFeed()
  const reader = feed.read({ maxBuffered: 1 })
  feed.push(event(1))

  for await (const { event_id: id } of reader) if (id === '1') break
  feed.push(event(2))
  feed.push(event(3))

  t.same(await reader.next(), { done: true, value: undefined })
})

t.test('a signal ends a reader, also one that was given already aborted', async (t) => {
  const feed = new EventFeed()
  const controller = new AbortController()
  const next = feed.read({ signal: controller.signal }).next()

  controller.abort()

  await t.rejects(next, { code: 'CLIENT_ABORTED' })
  await t.rejects(feed.read({ signal: controller.signal }).next(), { code: 'CLIENT_ABORTED' })
})
