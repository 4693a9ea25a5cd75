import { createHash } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { encryptionFor, toRedisError } from './redis-trust.ts'

/** What the connections to Redis tell. */
export interface RedisLinkListener {
  readonly heard: (channel: string, text: string) => void
  /** One of the connections is gone. Called at most once; after that the link is of no use. */
  readonly lost: (error: unknown) => void
  /** Where a channel is carried has changed, and something may have been lost with it. */
  readonly moved: () => void
}

/** The connections of one node to a Redis or to a cluster of them, from their making to their first loss. */
export interface RedisLink {
  /** Behind one address there are several servers. */
  readonly isCluster: boolean
  publish (channel: string, text: string): Promise<void>
  subscribe (channel: string): Promise<void>
  unsubscribe (channel: string): Promise<void>
  /** Runs a Lua script on keys of one hash tag; its text is sent only to a server that does not have it. */
  eval (script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
  /** Closes everything, at once. */
  destroy (): void
}

const connectTimeoutMs = 5_000
const commandTimeoutMs = 5_000

/**
 * Connects to what is behind the URL, and asks it whether it is part of a cluster. Nothing is sent again and nothing waits for a server that is away: who lost a
 * connection makes all of them anew, so that there is one way back for every kind of loss. Rejects when it cannot be reached, and with
 * `THREADLINE_INVALID_CONFIGURATION` when it is not trusted: `authorities` are certificates as PEM, in place of those that Node trusts.
 */
export async function openRedisLink (url: string, listener: RedisLinkListener, authorities?: string): Promise<RedisLink> {
  const options = redisOptionsOf(url, authorities)
  const commands = new Redis(options)
  const opened: (Redis | Cluster)[] = [commands]
  let isOver = false
  let failure: unknown
  const end = (error?: unknown): void => {
    if (isOver) return
    isOver = true
    for (const client of opened) client.disconnect()
    listener.lost(error ?? failure)
  }
  const watch = (client: EventEmitter): void => {
    client.on('error', (error: unknown) => { failure = withoutCommand(error) })
    client.on('end', () => { end() })
    client.on('smessage', (channel: string, text: string) => { listener.heard(channel, text) })
  }
  try {
    watch(commands)
    await commands.connect()
    const isCluster = String(await commands.info('cluster')).includes('cluster_enabled:1')
    const subscriber = isCluster ? openCluster(options) : new Redis(options)
    opened.push(subscriber)
    watch(subscriber)
    await subscriber.connect()
    // Not before: the name by which a cluster is reached goes, when its servers have told theirs.
    watchCluster(subscriber, end, listener.moved)
    // A cluster has its own connections for what listens.
    return linkOver(subscriber instanceof Cluster ? subscriber : commands, subscriber, isCluster, end)
  } catch (error) {
    isOver = true
    for (const client of opened) client.disconnect()
    throw toRedisError(failure ?? withoutCommand(error))
  }
}

/** What failed to be asked stands in the error, when it is the greeting with its password, and errors are logged. */
function withoutCommand (error: unknown): unknown {
  for (let cause = error; cause instanceof Error; cause = 'lastNodeError' in cause ? cause.lastNodeError : undefined) {
    if ('command' in cause) delete cause.command
  }
  return error
}

/** Only a cluster tells these: a server of it is new, or gone with the channels that it carried. */
function watchCluster (subscriber: EventEmitter, end: () => void, moved: () => void): void {
  for (const event of ['-node', '-subscriber']) subscriber.on(event, () => { end() })
  for (const event of ['+node', 'node error', 'nodeError']) subscriber.on(event, moved)
}

function linkOver (commands: Redis | Cluster, subscriber: Redis | Cluster, isCluster: boolean, destroy: () => void): RedisLink {
  return {
    isCluster,
    async publish (channel, text) { await commands.spublish(channel, text) },
    async subscribe (channel) { await subscriber.ssubscribe(channel) },
    async unsubscribe (channel) { await subscriber.sunsubscribe(channel) },
    async eval (script, keys, args) {
      const digest = createHash('sha1').update(script).digest('hex')
      try {
        return await commands.evalsha(digest, keys.length, ...keys, ...args)
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
        return await commands.eval(script, keys.length, ...keys, ...args)
      }
    },
    destroy
  }
}

function openCluster ({ host, port, db: _onlyOneThere, retryStrategy: _own, enableOfflineQueue: _whole, ...redisOptions }: ReturnType<typeof redisOptionsOf>): Cluster {
  return new Cluster([{ host, port }], {
    lazyConnect: true,
    shardedSubscribers: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: null,
    slotsRefreshTimeout: connectTimeoutMs,
    slotsRefreshInterval: 5_000,
    redisOptions
  })
}

/** Of one connection that is not made again. Throws for what is no URL. */
export function redisOptionsOf (url: string, authorities: string | undefined) {
  const parsed = URL.parse(url)
  if (parsed === null) throw new TypeError('The address of Redis is no URL') // what throws by itself says it, password and all
  const { protocol, hostname, port, username, password, pathname } = parsed
  const host = hostname.replace(/^\[|\]$/g, '')
  return {
    host,
    port: port === '' ? 6379 : Number(port),
    db: Number(pathname.slice(1)) || 0,
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...encryptionFor(protocol, host, authorities),
    connectionName: 'threadline',
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResubscribe: false,
    connectTimeout: connectTimeoutMs,
    commandTimeout: commandTimeoutMs,
    keepAlive: 5_000,
    noDelay: true
  } satisfies RedisOptions
}
