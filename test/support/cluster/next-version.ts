import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { sql } from 'kysely'
import type { Migration } from 'kysely/migration'
import threadline, { type AppOptions } from '../../../app.ts'
import { openPool } from '../../../lib/storage/connection-pool.ts'
import { migrate } from '../../../lib/storage/migrate.ts'

/** The next version of the service: the same code, which has one more migration, as a release adds it. */
export { options } from '../../../app.ts'

const next: Readonly<Record<string, Migration>> = {
  '9999-next': {
    async up (db) {
      await sql`alter table threadline.runs add column next_version text not null default 'next'`.execute(db)
      await sql`create table threadline.next_things (thing_id uuid primary key, run_id text)`.execute(db)
    }
  }
}

export default fp(async function nextVersion (app: FastifyInstance, options: AppOptions) {
  const pool = openPool({ url: process.env['DATABASE_URL'] ?? '', size: 1 }, undefined)
  try {
    await migrate(pool, next)
  } finally {
    await pool.end()
  }
  await app.register(threadline, options)
  app.addHook('onListen', async () => { app.log.info('This is the next version') })
}, { name: 'next-version', fastify: '5.x' })
