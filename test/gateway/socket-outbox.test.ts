import { once } from 'node:events'
import t from 'tap'
import { SocketOutbox } from '../../lib/gateway/socket-outbox.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newEventId, newRequestId, toUserId } from '../../lib/protocol/ids.ts'
import { openSocketPair } from '../support/socket-pair.ts'

/** A socket's frames are only text to its outbox. */
const event: ServerEvent = {
  type: 'pong', event_id: newEventId(), timestamp: new Date().toISOString(), user_id: toUserId('alice'), thread_id: null,
  request_id: newRequestId(), payload: {}
}
const patient = { maxBytes: 1_000_000, closeTimeoutMs: 60_000 }

t.test('frames arrive in the order of the calls', async (t) => {
  const { server, received } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, patient)
  const frames = Array.from({ length: 1_000 }, (_, index) => `frame ${index}`)

  t.ok(frames.every((frame) => outbox.send(event, frame) === 'sent'))

  const arrived: string[] = []
  while (arrived.length < frames.length) arrived.push(await received.next())
  t.same(arrived, frames)
})

t.test('G93 a client that does not read is closed with the slow-consumer code, after all that was said to be sent', async (t) => {
  const { server, client, received, clientClosed, serverClosed } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, patient)
  const frames = Array.from({ length: 1_000 }, (_, index) => `${index} `.padEnd(65_536, 'x'))
  client.pause()

  const outcomes = frames.map((frame) => outbox.send(event, frame))
  const sent = outcomes.filter((outcome) => outcome === 'sent').length
  t.ok(sent > 0 && sent < frames.length)
  t.same(new Set(outcomes.slice(sent)), new Set(['overflow']), 'after the first one all overflow')
  t.ok(server.bufferedAmount <= patient.maxBytes + 65_536 + 1_000, 'one frame is not counted')
  client.resume()

  t.same(await clientClosed, { code: 4508, reason: 'slowConsumer' })
  t.same(received.waiting.map((text) => text.length === 65_536 && Number.parseInt(text, 10)), frames.slice(0, sent).map((_, index) => index))
  t.equal((await serverClosed).code, 4508)
  t.equal(outbox.send(event, 'later'), 'overflow')
})

// Kill: count the largest frame as well.
t.test('a frame that is larger than the bound, and what follows it, reaches a client that reads', async (t) => {
  const { server, received } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, { maxBytes: 100, closeTimeoutMs: 60_000 })
  const large = '€'.repeat(10_000_000)

  t.equal(outbox.send(event, large), 'sent')
  t.ok(server.bufferedAmount > 100, 'it is on its way')
  t.equal(outbox.send(event, 'behind it'), 'sent')

  t.equal(await received.next() === large, true)
  t.equal(await received.next(), 'behind it')
})

t.test('G93 what is counted is bytes, as the bound says, and not characters', async (t) => {
  const { server, client, clientClosed } = await openSocketPair(t)
  const [largest, maxBytes] = [40_000_000, 1_000]
  const outbox = new SocketOutbox(server, { maxBytes, closeTimeoutMs: 60_000 })
  client.pause()
  outbox.send(event, 'x'.repeat(largest))
  const room = maxBytes + largest - server.bufferedAmount

  t.ok(room > 0 && room * 3 < largest, 'most of it waits')
  t.equal(outbox.send(event, '€'.repeat(room)), 'overflow')
  client.resume()
  t.equal((await clientClosed).code, 4508)
})

t.test('F86 a socket that is gone is dead: nothing is written, and nothing throws', async (t) => {
  const { server, client, serverClosed } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, patient)

  client.terminate()
  await serverClosed

  t.equal(outbox.send(event, 'hello'), 'dead')
  outbox.ping()
  outbox.close('drain')
  outbox.terminate()
  t.equal(outbox.send(event, 'hello'), 'dead')
})

t.test('a socket that is being closed is dead too, and the client gets code and word', async (t) => {
  const { server, received, clientClosed, serverClosed } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, patient)

  t.equal(outbox.send(event, 'before'), 'sent')
  outbox.close('drain')
  t.equal(outbox.send(event, 'after'), 'dead')
  outbox.close('internal')

  t.same(await clientClosed, { code: 1001, reason: 'drain' })
  t.equal((await serverClosed).code, 1001)
  t.same(received.waiting, ['before'])
})

t.test('H110 a client that does not answer a close is cut off after the time limit', async (t) => {
  const { server, client, serverClosed } = await openSocketPair(t)
  client.pause()

  new SocketOutbox(server, { maxBytes: 1_000, closeTimeoutMs: 5 }).close('idle')

  t.equal((await serverClosed).code, 1006)
})

t.test('H110 a client that does not read is cut off after the time limit as well', async (t) => {
  const { server, client, serverClosed } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, { ...patient, closeTimeoutMs: 5 })
  client.pause()

  for (let frames = 0; outbox.send(event, 'x'.repeat(65_536)) === 'sent'; frames += 1) if (frames > 1_000) return t.fail('it takes everything')

  t.equal((await serverClosed).code, 1006)
})

t.test('H110 a ping reaches the client', async (t) => {
  const { server, client } = await openSocketPair(t)
  const pinged = once(client, 'ping')

  new SocketOutbox(server, patient).ping()

  t.equal((await pinged).length, 1)
})

// Kill: let `drained` resolve at once.
t.test('what was sent has left when the outbox is drained, and not before', async (t) => {
  const { server, client, received } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, { maxBytes: 100, closeTimeoutMs: 60_000 })
  await outbox.drained()
  client.pause()
  outbox.send(event, 'x'.repeat(40_000_000))
  const drained = outbox.drained().then(() => server.bufferedAmount)
  t.ok(server.bufferedAmount > 0, 'most of it waits')
  client.resume()

  t.equal(await drained, 0)
  await outbox.drained()
  t.equal((await received.next()).length, 40_000_000)
})

t.test('an outbox is drained, and gone, when its client is cut off', async (t) => {
  const { server, client } = await openSocketPair(t)
  const outbox = new SocketOutbox(server, patient)
  client.pause()
  outbox.send(event, 'x'.repeat(40_000_000))
  const drained = outbox.drained()

  outbox.terminate()

  await Promise.all([drained, outbox.gone, outbox.drained()])
  t.equal(outbox.send(event, 'later'), 'dead')
})
