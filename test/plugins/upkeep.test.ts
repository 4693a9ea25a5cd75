import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import type { Storage } from '../../lib/stores/storage.ts'
import type { Upkeep } from '../../lib/stores/upkeep.ts'
import config from '../../plugins/config.ts'
import upkeep from '../../plugins/upkeep.ts'

// The plugin keeps no process alive; a server's listener does.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => { clearInterval(alive) })

/** The plugin on a storage of which only the upkeep is asked for. */
function build (t: Test, purge: Upkeep['purge'], env: Record<string, string> = {}) {
  const app = Fastify({ pluginTimeout: 120_000 })
  t.teardown(async () => { await app.close() })
  app.register(config, { env })
  app.register(fp(async (app) => { app.decorate('storage', { upkeep: { purge } } as unknown as Storage) }, { name: 'storage' })) // all of it that is used
  app.register(upkeep)
  return app
}

t.test('the server purges once it is ready, which does not wait for it, and closes when the purge has ended', async (t) => {
  const order: string[] = []
  const ended = Promise.withResolvers<void>()
  const app = build(t, async ({ deletedBefore, eventsBefore }) => {
    order.push(`purge ${deletedBefore.getTime() < Date.now()} ${eventsBefore?.getTime() ?? 'for ever'}`)
    await ended.promise
    order.push('purged')
    return { threads: 0, events: 0 }
  })

  await app.register(async () => { order.push('registered') })
  await app.ready()
  order.push('ready')
  const closing = app.close().then(() => { order.push('closed') })
  ended.resolve()
  await closing

  t.same(order, ['registered', 'purge true for ever', 'ready', 'purged', 'closed'])
})

t.test('how long is kept what, and how often it is looked for, is configured', async (t) => {
  const calls: Array<Parameters<Upkeep['purge']>[0]> = []
  const third = Promise.withResolvers<void>()
  const env = { THREAD_RETENTION_DAYS: '2', EVENT_RETENTION_DAYS: '1', UPKEEP_INTERVAL_MS: '1' }
  const app = build(t, async (what) => {
    calls.push(what)
    if (calls.length === 3) third.resolve()
    return { threads: 0, events: 0 }
  }, env)

  await app.ready()
  await third.promise

  const hoursAgo = (date: Date | undefined): number => Math.round((Date.now() - Number(date)) / 3_600_000)
  t.same(calls.slice(0, 3).map(({ deletedBefore, eventsBefore }) => [hoursAgo(deletedBefore), hoursAgo(eventsBefore)]), Array(3).fill([48, 24]))
})

t.test('a retention that is none is refused', async (t) => {
  for (const [name, value] of [['THREAD_RETENTION_DAYS', '0'], ['EVENT_RETENTION_DAYS', '-1'], ['UPKEEP_INTERVAL_MS', '0']] as const) {
    const app = build(t, async () => ({ threads: 0, events: 0 }), { [name]: value })
    await t.rejects(async () => { await app.ready() }, { code: 'THREADLINE_INVALID_CONFIGURATION', field: name })
  }
})
