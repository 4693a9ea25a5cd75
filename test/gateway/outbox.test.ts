import { once } from 'node:events'
import t from 'tap'
import { Outbox } from '../../lib/gateway/outbox.ts'
import { openSocketPair } from '../support/socket-pair.ts'

const patient = { maxBytes: 1_000_000, closeTimeoutMs: 60_000 }

t.test('frames arrive in the order of the calls', async (t) => {
  const { server, received } = await openSocketPair(t)
  const outbox = new Outbox(server, patient)
  const frames = Array.from({ length: 1_000 }, (_, index) => `frame ${index}`)

  t.ok(frames.every((frame) => outbox.send(frame) === 'sent'))

  const arrived: string[] = []
  while (arrived.length < frames.length) arrived.push(await received.next())
  t.same(arrived, frames)
})

t.test('G93 a client that does not read is closed with the slow-consumer code, after all that was said to be sent', async (t) => {
  const { server, client, received, clientClosed, serverClosed } = await openSocketPair(t)
  const outbox = new Outbox(server, patient)
  const frames = Array.from({ length: 1_000 }, (_, index) => `${index} `.padEnd(65_536, 'x'))
  client.pause()

  const outcomes = frames.map((frame) => outbox.send(frame))
  const sent = outcomes.filter((outcome) => outcome === 'sent').length
  t.ok(sent > 0 && sent < frames.length)
  t.same(new Set(outcomes.slice(sent)), new Set(['overflow']), 'after the first one all overflow')
  t.ok(server.bufferedAmount <= patient.maxBytes + 65_536 + 1_000, 'one frame is not counted')
  client.resume()

  t.same(await clientClosed, { code: 4508, reason: 'slowConsumer' })
  t.same(received.waiting.map((text) => text.length === 65_536 && Number.parseInt(text, 10)), frames.slice(0, sent).map((_, index) => index))
  t.equal((await serverClosed).code, 4508)
  t.equal(outbox.send('later'), 'overflow')
})

// Kill: count the largest frame as well.
t.test('a frame that is larger than the bound, and what follows it, reaches a client that reads', async (t) => {
  const { server, received } = await openSocketPair(t)
  const outbox = new Outbox(server, { maxBytes: 100, closeTimeoutMs: 60_000 })
  const large = '€'.repeat(10_000_000)

  t.equal(outbox.send(large), 'sent')
  t.ok(server.bufferedAmount > 100, 'it is on its way')
  t.equal(outbox.send('behind it'), 'sent')

  t.equal(await received.next() === large, true)
  t.equal(await received.next(), 'behind it')
})

t.test('G93 what is counted is bytes, as the bound says, and not characters', async (t) => {
  const { server, client, clientClosed } = await openSocketPair(t)
  const [largest, maxBytes] = [40_000_000, 1_000]
  const outbox = new Outbox(server, { maxBytes, closeTimeoutMs: 60_000 })
  client.pause()
  outbox.send('x'.repeat(largest))
  const room = maxBytes + largest - server.bufferedAmount

  t.ok(room > 0 && room * 3 < largest, 'most of it waits')
  t.equal(outbox.send('€'.repeat(room)), 'overflow')
  client.resume()
  t.equal((await clientClosed).code, 4508)
})

t.test('F86 a socket that is gone is dead: nothing is written, and nothing throws', async (t) => {
  const { server, client, serverClosed } = await openSocketPair(t)
  const outbox = new Outbox(server, patient)

  client.terminate()
  await serverClosed

  t.equal(outbox.send('hello'), 'dead')
  outbox.ping()
  outbox.close('drain')
  outbox.terminate()
  t.equal(outbox.send('hello'), 'dead')
})

t.test('a socket that is being closed is dead too, and the client gets code and word', async (t) => {
  const { server, received, clientClosed, serverClosed } = await openSocketPair(t)
  const outbox = new Outbox(server, patient)

  t.equal(outbox.send('before'), 'sent')
  outbox.close('drain')
  t.equal(outbox.send('after'), 'dead')
  outbox.close('internal')

  t.same(await clientClosed, { code: 1001, reason: 'drain' })
  t.equal((await serverClosed).code, 1001)
  t.same(received.waiting, ['before'])
})

t.test('H110 a client that does not answer a close is cut off after the time limit', async (t) => {
  const { server, client, serverClosed } = await openSocketPair(t)
  client.pause()

  new Outbox(server, { maxBytes: 1_000, closeTimeoutMs: 5 }).close('idle')

  t.equal((await serverClosed).code, 1006)
})

t.test('H110 a client that does not read is cut off after the time limit as well', async (t) => {
  const { server, client, serverClosed } = await openSocketPair(t)
  const outbox = new Outbox(server, { ...patient, closeTimeoutMs: 5 })
  client.pause()

  for (let frames = 0; outbox.send('x'.repeat(65_536)) === 'sent'; frames += 1) if (frames > 1_000) return t.fail('it takes everything')

  t.equal((await serverClosed).code, 1006)
})

t.test('H110 a ping reaches the client', async (t) => {
  const { server, client } = await openSocketPair(t)
  const pinged = once(client, 'ping')

  new Outbox(server, patient).ping()

  t.equal((await pinged).length, 1)
})
