import { randomBytes } from 'node:crypto'
import pg from 'pg'

/** A database of its own on a server, so that a bench begins with empty tables. `drop` takes it away again. */
export async function createScratchDatabase (serverUrl: string): Promise<{ readonly url: string, drop (): Promise<void> }> {
  const name = `threadline_bench_${randomBytes(6).toString('hex')}`
  await execute(serverUrl, `create database ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return { url: url.href, drop: async () => { await execute(serverUrl, `drop database if exists ${name} with (force)`) } }
}

async function execute (url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
