import { once } from 'node:events'
import t from 'tap'
import { StreamOutbox, type StreamOutboxOptions } from '../../lib/gateway/stream-outbox.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { someDelta, someEvent } from '../support/some-events.ts'
import { openStreamPair, type StreamPair } from '../support/stream-pair.ts'
import { TestStream } from '../support/test-stream.ts'

const patient: StreamOutboxOptions = { maxBytes: 1_000_000, closeTimeoutMs: 60_000, resuming: false, isLast: () => false }

const send = (outbox: StreamOutbox, event: ServerEvent) => outbox.send(event, JSON.stringify(event))

async function readerOf ({ answered }: StreamPair): Promise<TestStream> {
  const reader = await answered
  if (!(reader instanceof TestStream)) throw new Error(`No stream: ${reader.status}`)
  return reader
}

t.test('G90 events arrive in the order of the calls, each with its type, its JSON and its place', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, patient)
  const events = Array.from({ length: 1_000 }, (_, index) => someDelta(index + 1, `line ${index}\nand\r\n another   `))

  outbox.open()
  t.ok(events.every((event) => send(outbox, event) === 'sent'))

  const reader = await readerOf(pair)
  await reader.next(({ sequence }) => sequence === 1_000)
  t.same(reader.events, events)
  t.same(new Set(reader.received.map(({ event }) => event)), new Set(['agent_delta']))
  t.same(reader.received.map(({ id }) => id), events.map(({ sequence }) => `e1:${sequence}`))
  t.equal(reader.lastEventId, 'e1:1000')
})

t.test('a stream is for nobody to keep, to change or to hold back, and says when to come back', async (t) => {
  const pair = await openStreamPair(t)
  pair.response.setHeader('x-request-id', 'kept')

  new StreamOutbox(pair.response, patient).open()

  const { status, headers, ...reader } = await readerOf(pair)
  t.equal(status, 200)
  t.match(headers, {
    'content-type': 'text/event-stream', 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no', 'x-request-id': 'kept'
  })
  t.equal(reader.lastEventId, '')
})

t.test('until it is open nothing is written, and another answer can be given', async (t) => {
  const { response, answered } = await openStreamPair(t)
  const outbox = new StreamOutbox(response, patient)

  t.equal(send(outbox, someDelta(1, 'early')), 'sent')
  outbox.ping()
  await outbox.drained()
  t.equal(response.headersSent, false)
  response.writeHead(404).end('no')

  t.match(await answered, { status: 404, text: 'no' })
  await outbox.gone
  t.equal(send(outbox, someDelta(2, 'late')), 'dead')
})

t.test('what was sent before it was open comes first, and a goodbye from before comes last', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, patient)

  t.equal(send(outbox, someDelta(1, 'one')), 'sent')
  outbox.close('drain')
  t.equal(send(outbox, someDelta(2, 'two')), 'sent')
  outbox.open()
  outbox.open()
  t.equal(send(outbox, someDelta(3, 'three')), 'dead')

  const reader = await readerOf(pair)
  t.equal(await reader.closed, 'ended')
  t.same(reader.events.map(({ sequence }) => sequence), [1, 2])
  t.same(reader.received.at(-1), { id: undefined, event: 'close', data: '{"code":1001,"reason":"drain"}' })
  t.equal(outbox.goodbye, 'drain')
  await outbox.gone
})

t.test('events that tell a position give the place to come back to, but not before what is missed', async (t) => {
  const state = { sequence: 7, epoch: 'e1', active_runs: [] }
  const [user, threadId] = [toUserId('alice'), newThreadId()]
  const established = someEvent('connection_established', {
    connection_id: 'c', user_id: user, thread_id: threadId, token_expires_at: null, ...state
  })
  const resumed = someEvent('resumed', { after: 3, replayed: 4, ...state })
  const idsOf = async (resuming: boolean) => {
    const pair = await openStreamPair(t)
    const outbox = new StreamOutbox(pair.response, { ...patient, resuming })
    outbox.open()
    for (const event of [established, someEvent('presence', { connections: 1 }), resumed]) send(outbox, event)
    outbox.close('drain')
    const reader = await readerOf(pair)
    await reader.closed
    return reader.received.map(({ id }) => id)
  }

  t.same(await idsOf(false), ['e1:7', undefined, 'e1:7', undefined])
  t.same(await idsOf(true), [undefined, undefined, 'e1:7', undefined])
})

t.test('the last event completes the stream, without a goodbye', async (t) => {
  for (const early of [false, true]) {
    const pair = await openStreamPair(t)
    const outbox = new StreamOutbox(pair.response, { ...patient, isLast: ({ sequence }) => sequence === 2 })

    if (!early) outbox.open()
    t.equal(send(outbox, someDelta(1, 'one')), 'sent')
    t.equal(send(outbox, someDelta(2, 'two')), 'sent')
    t.equal(send(outbox, someDelta(3, 'three')), 'dead')
    outbox.close('drain')
    outbox.open()

    const reader = await readerOf(pair)
    t.equal(await reader.closed, 'ended')
    t.same(reader.received.map(({ id }) => id), ['e1:1', 'e1:2'])
    t.equal(outbox.goodbye, undefined)
    await outbox.gone
  }
})

t.test('G93 a reader that does not read is let go as a slow consumer, after all that was said to be sent', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, patient)
  outbox.open()
  const reader = await readerOf(pair)
  reader.pause()

  const outcomes = Array.from({ length: 1_000 }, (_, index) => send(outbox, someDelta(index + 1, 'x'.repeat(65_536))))
  const sent = outcomes.filter((outcome) => outcome === 'sent').length
  t.ok(sent > 0 && sent < outcomes.length)
  t.same(new Set(outcomes.slice(sent)), new Set(['overflow']), 'after the first one all overflow')
  t.ok(pair.response.writableLength <= patient.maxBytes + 2 * 66_000, 'one frame and what goes round it are not counted')
  reader.resume()

  t.equal(await reader.closed, 'ended')
  t.same(reader.goodbye, { code: 4508, reason: 'slowConsumer' })
  t.same(reader.events.map(({ sequence }) => sequence), Array.from({ length: sent }, (_, index) => index + 1))
  await outbox.gone
  t.equal(send(outbox, someDelta(2_000, 'later')), 'overflow')
})

t.test('G93 what waits for an opening is bounded as well', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, { ...patient, maxBytes: 1_000 })

  const outcomes = Array.from({ length: 100 }, (_, index) => send(outbox, someDelta(index + 1, 'x'.repeat(50))))
  outbox.open()

  const sent = outcomes.filter((outcome) => outcome === 'sent').length
  t.ok(sent > 0 && sent < 10)
  const reader = await readerOf(pair)
  t.equal(await reader.closed, 'ended')
  t.equal(reader.events.length, sent)
  t.equal(reader.goodbye?.code, 4508)
})

// Kill: count the largest frame as well.
t.test('an event that is larger than the bound, and what follows it, reaches a reader that reads', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, { ...patient, maxBytes: 100 })
  outbox.open()
  await outbox.drained()

  t.equal(send(outbox, someDelta(1, '€'.repeat(10_000_000))), 'sent')
  t.ok(pair.response.writableLength > 100, 'it is on its way')
  t.equal(send(outbox, someDelta(2, 'behind it')), 'sent')

  const reader = await readerOf(pair)
  t.equal((await reader.next(({ sequence }) => sequence === 2)).sequence, 2)
})

t.test('what has left is drained, and so is what nobody is there for any more', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, { ...patient, maxBytes: 100_000_000 })
  outbox.open()
  const reader = await readerOf(pair)
  reader.pause()
  send(outbox, someDelta(1, 'x'.repeat(20_000_000)))

  const first = outbox.drained()
  t.ok(pair.response.writableLength > 0)
  reader.resume()
  await first
  t.equal(pair.response.writableLength, 0)
  await reader.next(({ sequence }) => sequence === 1)

  reader.pause()
  send(outbox, someDelta(2, 'x'.repeat(20_000_000)))
  const second = outbox.drained()
  reader.drop()
  await Promise.all([second, outbox.gone])
  await outbox.drained()
  t.equal(reader.ofType('agent_delta').length, 1)
})

t.test('H110 a comment keeps the stream alive, and none piles up behind what waits', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, { ...patient, maxBytes: 100_000_000 })
  outbox.open()
  await outbox.drained()

  outbox.ping()
  const reader = await readerOf(pair)
  t.equal(await reader.comment(), 'heartbeat')

  reader.pause()
  send(outbox, someDelta(1, 'x'.repeat(20_000_000)))
  const waiting = pair.response.writableLength
  outbox.ping()
  t.ok(pair.response.writableLength <= waiting)
})

t.test('F86 a reader that is gone is dead: nothing is written, and nothing throws', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, patient)
  outbox.open()
  const reader = await readerOf(pair)

  reader.drop()
  await outbox.gone

  t.equal(send(outbox, someDelta(1, 'hello')), 'dead')
  outbox.ping()
  outbox.close('drain')
  outbox.terminate()
  t.equal(send(outbox, someDelta(1, 'hello')), 'dead')
  t.equal(outbox.goodbye, undefined, 'the server did not end it')
})

t.test('F86 a reader that was gone before is gone at once', async (t) => {
  const { response, answered } = await openStreamPair(t)
  const closed = once(response, 'close')
  answered.catch(() => {}) // it is refused: the server hangs up
  response.destroy()
  await closed

  const outbox = new StreamOutbox(response, patient)
  await outbox.gone
  outbox.open()

  t.equal(send(outbox, someDelta(1, 'hello')), 'dead')
  t.equal(response.headersSent, false)
})

t.test('H110 a reader that does not take the rest is cut off after the time limit, and so is one that is not answered in it', async (t) => {
  const pair = await openStreamPair(t)
  const outbox = new StreamOutbox(pair.response, { ...patient, maxBytes: 100_000_000, closeTimeoutMs: 5 })
  outbox.open()
  const reader = await readerOf(pair)
  reader.pause()
  send(outbox, someDelta(1, 'x'.repeat(20_000_000)))
  outbox.close('idle')
  await outbox.gone
  reader.resume()
  t.equal(await reader.closed, 'cut')

  const unanswered = await openStreamPair(t)
  const waiting = new StreamOutbox(unanswered.response, { ...patient, closeTimeoutMs: 5 })
  waiting.close('drain')
  await t.rejects(unanswered.answered)
  await waiting.gone
})
