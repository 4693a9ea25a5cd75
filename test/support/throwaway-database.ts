import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { templateDatabase } from './template-database.ts'

const objectInUse = '55006'

export interface ThrowawayDatabase {
  readonly url: string
  /** Nobody may be connected to it any more, but for a moment. */
  readonly drop: () => Promise<void>
}

/**
 * A database of its own on the server of `TEST_DATABASE_URL`; undefined without that variable. It is empty, or with `migrated` in the newest
 * state, which takes a fifth of the time that the migrations would.
 */
export async function createThrowawayDatabase ({ migrated = false }: { readonly migrated?: boolean } = {}): Promise<ThrowawayDatabase | undefined> {
  const server = process.env['TEST_DATABASE_URL']
  if (server === undefined) return undefined
  const name = `threadline_test_${randomBytes(6).toString('hex')}`
  const template = migrated ? ` template ${await templateDatabase(server)}` : ''
  await execute(server, `create database ${name}${template}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { url: url.href, drop: async () => { await drop(server, name) } }
}

// By force only when a session is left over: an autovacuum worker, which gives way by itself, is not ours to terminate.
async function drop (server: string, name: string): Promise<void> {
  try {
    await execute(server, `drop database if exists ${name}`)
  } catch (error) {
    if (!(error instanceof pg.DatabaseError && error.code === objectInUse)) throw error
    await execute(server, `drop database if exists ${name} with (force)`)
  }
}

async function execute (url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
