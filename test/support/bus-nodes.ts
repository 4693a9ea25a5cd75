import { PassThrough } from 'node:stream'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { createRunIdentity } from '../../lib/context/identity.ts'
import bus from '../../plugins/bus.ts'
import config from '../../plugins/config.ts'
import eventLog from '../../plugins/event-log.ts'
import node from '../../plugins/node.ts'
import redis from '../../plugins/redis.ts'
import signing from '../../plugins/signing.ts'
import storage from '../../plugins/storage.ts'
import { until } from '../events/bus-contract.ts'
import { as, deltaOf, newcomer, runningRun } from './storage-databases.ts'

export interface BusNode { readonly app: FastifyInstance, readonly lines: readonly string[] }

/** What nodes tell each other with, and nothing above it. Rejects as the start of a service would. */
export async function openBusNode (t: Test, env: Readonly<Record<string, string | number>>): Promise<BusNode> {
  const lines: string[] = []
  const stream = new PassThrough().on('data', (line) => { lines.push(String(line)) })
  const app = Fastify({ logger: { stream }, pluginTimeout: 120_000 })
  t.teardown(async () => { await app.close() })
  await app.register(config, { env: { SIGNING_KEYS: 'a key that is as long as a key has to be', ...env } })
  for (const plugin of [node, storage, signing, redis, bus, eventLog]) await app.register(plugin)
  await app.ready()
  return { app, lines }
}

/** Appends on one node, and resolves when a follower on the other has been told. */
export async function told (one: BusNode, other: BusNode, count = 3): Promise<readonly number[]> {
  const user = newcomer('alice')
  const run = await runningRun(one.app.storage, user)
  const identity = createRunIdentity({ userId: run.userId, threadId: run.threadId, runId: run.runId })
  const seen: number[] = []
  const leave = as(identity, () => other.app.eventLog.follow(run.threadId, ({ sequence }) => { seen.push(sequence) }))
  as(identity, () => { other.app.eventLog.stand(run.threadId, 0) })
  for (let index = 0; index < count; index += 1) {
    const { event, attempt } = deltaOf(run)
    await as(identity, async () => await one.app.eventLog.append(event, attempt))
  }
  await until(() => seen.length >= count)
  leave()
  return seen
}

/** How many lines of a node's log have this text. */
export function linesOf ({ lines }: BusNode, text: string): number {
  return lines.filter((line) => line.includes(text)).length
}
