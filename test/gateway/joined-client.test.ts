import t from 'tap'
import type { Outbox } from '../../lib/gateway/outbox.ts'
import type { CloseReason } from '../../lib/protocol/close-codes.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { toUserId } from '../../lib/protocol/ids.ts'
import { hopOf, traceIdOf } from '../support/trace-of.ts'
import { startGateway } from '../support/start-gateway.ts'
import { startServer } from '../support/start-server.ts'

// A client that lives in the process of the gateway, and is told through an outbox of its own.

const server = await startServer(t)

/** Keeps what it is told, and lets a test wait for it. */
class KeepingOutbox implements Outbox {
  readonly duplex = false
  readonly events: ServerEvent[] = []
  readonly gone: Promise<void>
  goodbye: CloseReason | undefined
  readonly leave: () => void
  readonly #waiting = new Set<() => void>()

  constructor () {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.gone = promise
    this.leave = resolve
  }

  open (): void {}
  ping (): void {}
  terminate (): void { this.leave() }
  async drained (): Promise<void> {}

  send (_event: ServerEvent, frame: string): 'sent' {
    this.events.push(JSON.parse(frame) as ServerEvent) // written by the gateway
    for (const look of this.#waiting) look()
    return 'sent'
  }

  close (reason: CloseReason): void {
    this.goodbye ??= reason
    this.leave()
  }

  async until (matches: (event: ServerEvent) => boolean): Promise<ServerEvent> {
    return await new Promise((resolve) => {
      const look = (): void => {
        const found = this.events.find(matches)
        if (found === undefined) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }
}

const alice = { userId: toUserId('alice'), expiresAt: null }

// kill: `inbox.push('establish')` behind the return of `takeFrames` in lib/gateway/listen-to-socket.ts
t.test('its frames go the way of a socket\'s, behind connection_established and in their order', async (t) => {
  const { gateway } = await startGateway(t, server)
  const outbox = new KeepingOutbox()
  const thread = await server.thread('alice')

  const client = gateway.join(outbox, alice)
  client.send(JSON.stringify({ type: 'switch_thread', id: '1', payload: { thread_id: thread } }))
  client.send('no JSON')
  client.send(JSON.stringify({ type: 'user_message', id: '2', payload: { content: 'hello', agent: 'echo' } }))
  const completed = await outbox.until(({ type }) => type === 'agent_completed')

  t.same(outbox.events.filter(({ type }) => type !== 'presence').slice(0, 3).map(({ type, reply_to: replyTo }) => [type, replyTo]), [
    ['connection_established', undefined], ['thread_switched', '1'], ['error', undefined]
  ])
  t.match(outbox.events[0], { payload: { connection_id: client.connectionId, user_id: 'alice' } })
  t.match(completed, { thread_id: thread, payload: { content: /hello/ } })
  const hops = server.spans.byTrace().get(traceIdOf(completed))?.map((span) => hopOf(span))
  t.equal(hops?.[0], 'socket.receive', 'its trace begins like that of a frame')
})

t.test('it is in no thread of another user, and told nothing of it', async (t) => {
  const { gateway } = await startGateway(t, server)
  const outbox = new KeepingOutbox()
  const hers = await server.thread('bob')

  const client = gateway.join(outbox, alice)
  client.send(JSON.stringify({ type: 'switch_thread', id: '1', payload: { thread_id: hers } }))

  t.match(await outbox.until(({ reply_to: replyTo }) => replyTo === '1'), { type: 'error', payload: { code: 'THREADLINE_THREAD_NOT_FOUND' } })
})

t.test('a frame that is too large closes it, as it does a socket', async (t) => {
  const { gateway } = await startGateway(t, server, { limits: { maxFrameBytes: 100 } })
  const outbox = new KeepingOutbox()

  gateway.join(outbox, alice).send('x'.repeat(101))
  await outbox.gone

  t.equal(outbox.goodbye, 'tooLarge')
})

t.test('when it has left it is forgotten, and its frames are taken no more', async (t) => {
  const { gateway } = await startGateway(t, server)
  const outbox = new KeepingOutbox()
  const client = gateway.join(outbox, alice)
  await outbox.until(({ type }) => type === 'connection_established')
  const told = outbox.events.length

  outbox.leave()
  await outbox.gone
  client.send(JSON.stringify({ type: 'ping', payload: {} }))
  await new Promise(setImmediate)

  t.equal(gateway.load.connections, 0)
  t.equal(outbox.events.length, told)
})

t.test('it counts as a connection of its user, and none is taken when the node drains', async (t) => {
  const { gateway } = await startGateway(t, server, { limits: { maxConnectionsPerUser: 1 } })
  const outbox = new KeepingOutbox()
  gateway.join(outbox, alice)

  t.throws(() => gateway.join(new KeepingOutbox(), alice), { code: 'THREADLINE_CONNECTION_LIMIT' })
  await gateway.drain()

  t.equal(outbox.goodbye, 'drain')
  t.throws(() => gateway.join(new KeepingOutbox(), alice), { code: 'THREADLINE_SHUTTING_DOWN' })
})

t.test('no guard had to refuse anything', async (t) => {
  t.same(server.violations, [])
})
