import { randomBytes } from 'node:crypto'
import pg from 'pg'

const objectInUse = '55006'

/** A database of its own on the server of `TEST_DATABASE_URL`, dropped again by `drop`; undefined without that variable. */
export async function createThrowawayDatabase (): Promise<{ readonly url: string, drop (): Promise<void> } | undefined> {
  const server = process.env['TEST_DATABASE_URL']
  if (server === undefined) return undefined
  const name = `threadline_test_${randomBytes(6).toString('hex')}`
  await execute(server, `create database ${name}`)
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
