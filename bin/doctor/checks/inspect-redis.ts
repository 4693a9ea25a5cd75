import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { openRedisLink, redisOptionsOf } from '../../../lib/events/redis-link.ts'
import { readAuthorities, toRedisError } from '../../../lib/events/redis-trust.ts'
import { findingsOf, type Finding } from '../finding.ts'
import { placeOf, reasonOf } from '../reason-of.ts'
import { within } from '../within.ts'
import { compareClock, type Now } from './compare-clocks.ts'

const { ok, failed } = findingsOf('Redis')
const oldestVersion = 7
const waitMs = 3_000

/** Whether it is there, of a version that is known to work, carries a message as nodes send them, and knows what time it is. */
export async function inspectRedis (url: string, authorityFile: string | undefined, now: Now): Promise<readonly Finding[]> {
  const authorities = authorityFile === undefined ? undefined : await readAuthorities(authorityFile)
  const client = new Redis(redisOptionsOf(url, authorities))
  let failure: unknown
  client.on('error', (error: unknown) => { failure = error })
  try {
    await client.connect()
    const { version, named: own } = versionOf(await client.info('server'))
    const named = `${own} at ${placeOf(url)}`
    if (Number.parseInt(version, 10) < oldestVersion) return [failed(named, 'Use Redis 7 or newer, or Valkey: channels are spread over the servers of a cluster since then')]
    const ms = Math.round(await sendThereAndBack(url, authorities))
    const clock = await compareClock('Redis', now, async () => {
      const [seconds, microseconds] = await client.time()
      return Number(seconds) * 1_000 + Number(microseconds) / 1_000
    })
    return [ok(`${named} carries a message there and back in ${ms} ms`), clock]
  } catch (error) {
    return [failed(
      `${placeOf(url)} cannot be used: ${reasonOf(toRedisError(failure ?? error))}`,
      'Check REDIS_URL, and that the login may use INFO, TIME, SPUBLISH and SSUBSCRIBE on threadline:*. Until then events take the way over Postgres'
    )]
  } finally {
    client.disconnect()
  }
}

/** What the server calls itself, and the version of Redis that it is or, being Valkey, works like. */
function versionOf (info: string): { readonly version: string, readonly named: string } {
  const version = /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'of an unknown version'
  const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1]
  return { version, named: valkey === undefined ? version : `Valkey ${valkey}` }
}

/** In ms. By the very connections that nodes use, to a channel of its own. */
async function sendThereAndBack (url: string, authorities: string | undefined): Promise<number> {
  const channel = `threadline:{doctor-${randomUUID()}}`
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  promise.catch(() => { /* told where it is awaited, if it comes to that */ })
  const link = await openRedisLink(url, { heard: () => { resolve() }, lost: reject, moved: () => { /* it is sent once */ } }, authorities)
  try {
    await link.subscribe(channel)
    const startedAt = performance.now()
    await link.publish(channel, 'there and back')
    await within(waitMs, promise)
    return performance.now() - startedAt
  } finally {
    link.destroy()
  }
}
