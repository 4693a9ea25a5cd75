import { createHash } from 'node:crypto'
import type { Logger } from '../context/logger.ts'
import type { Signer } from '../context/signature.ts'
import { BusEnd } from './bus-end.ts'
import { eitherDoubt } from './doubt.ts'
import type { EventBus, Signal, Topic } from './event-bus.ts'
import type { NodeClocks } from './node-clocks.ts'
import type { RedisConnection } from './redis-connection.ts'

export interface RedisBusOptions {
  readonly node: string
  /** What the nodes of one service have in common: others may use the same Redis. Letters and digits. */
  readonly service: string
  readonly signer: Signer
  readonly logger: Logger
  readonly clocks?: NodeClocks | undefined
  /** Is left open: its opener closes it. */
  readonly connection: Pick<RedisConnection, 'publish' | 'listen' | 'doubt'>
}

/** Of the events in a hint: whoever hears a longer one reads them from the log. */
const maxEventBytes = 128 * 1024

/**
 * The bus over Redis, by its sharded channels: one of each thread, one of each user, one of the work, one of the nodes, each on the server of a cluster that its hash tag belongs
 * to. A hint brings its events, so that nobody needs to ask the log. What cannot be sent at once is not sent.
 */
export function createRedisBus ({ node, service, signer, logger, clocks, connection }: RedisBusOptions): EventBus {
  const channels = new Map<string, { topics: number, readonly leave: () => void }>()
  const end = new BusEnd({
    node,
    signer,
    logger,
    clocks,
    bus: 'redis',
    opened (topic) {
      const name = channelOf(service, topic)
      const known = channels.get(name)
      if (known !== undefined) known.topics += 1
      else channels.set(name, { topics: 1, leave: connection.listen(name, (text) => { end.hear(text, (named) => channelOf(service, named) === name) }) })
    },
    closed (topic) {
      const name = channelOf(service, topic)
      const channel = channels.get(name)
      if (channel === undefined) return
      channel.topics -= 1
      if (channel.topics > 0) return
      channels.delete(name)
      channel.leave()
    }
  })
  const doubt = eitherDoubt(connection.doubt, end.clocks.doubt)
  const undone = new Set<() => void>()
  let isClosed = false

  function encode (topic: Topic, signal: Signal): string | undefined {
    const post = end.encode(topic, signal)
    if (post === undefined || signal.kind === 'message' || post.length <= maxEventBytes) return post
    return end.encode(topic, { kind: 'events', sequence: signal.sequence })
  }

  return {
    node,
    publish (topic, signal) {
      const post = isClosed ? undefined : encode(topic, signal)
      if (post === undefined) return
      const isSent = connection.publish(channelOf(service, topic), end.seal([post]), (taken) => { end.sent(taken ? 'ok' : 'failed') })
      if (!isSent) end.sent('dropped')
    },
    subscribe: (topic, receive) => isClosed ? () => {} : end.subscribe(topic, receive),
    get doubtful () { return doubt.doubtful },
    onDoubt (listener) {
      const stop = doubt.on(listener)
      undone.add(stop)
      return stop
    },
    get subscribed () { return end.subscribed },
    async close () {
      isClosed = true
      for (const { leave } of channels.values()) leave()
      channels.clear()
      for (const stop of undone) stop()
    }
  }
}

/** With one hash tag, so that what belongs to a thread lies together. A user's name may be anything, so it is not in it as it is. */
export function channelOf (service: string, topic: Topic): string {
  if (topic.kind === 'thread') return `threadline:${service}:{${topic.threadId}}`
  if (topic.kind === 'work' || topic.kind === 'nodes') return `threadline:${service}:{${topic.kind}:${service}}`
  return `threadline:${service}:{user:${createHash('sha256').update(topic.userId).digest('hex').slice(0, 32)}}`
}
