import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import config from '../../plugins/config.ts'
import storage from '../../plugins/storage.ts'

function build (t: Test, env: Record<string, string>): FastifyInstance {
  const app = Fastify({ pluginTimeout: 120_000 })
  t.teardown(async () => { await app.close() })
  app.register(config, { env })
  app.register(storage)
  return app
}

t.test('the storage is open when the server is ready, and closed when it has closed', async (t) => {
  const app = build(t, { DATA_DIR: 'memory' })

  await app.ready()
  await t.resolves(app.storage.ping())
  await app.close()

  await t.rejects(app.storage.ping(), { code: 'THREADLINE_STORAGE_UNAVAILABLE' })
})

t.test('what opened before it can still use it while the server closes', async (t) => {
  const app = build(t, { DATA_DIR: 'memory' })
  const told: string[] = []
  app.register(fp(async (app) => {
    app.addHook('onClose', async () => { await app.storage.ping(); told.push('answered') })
  }, { dependencies: ['storage'] }))

  await app.ready()
  await app.close()

  t.same(told, ['answered'])
})

t.test('a database that cannot be opened keeps the server from starting, with the reason', async (t) => {
  const app = build(t, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nowhere' })

  await t.rejects(async () => { await app.ready() }, { code: 'THREADLINE_STORAGE_UNAVAILABLE' })
})
