import pg from 'pg'
import type { Logger } from '../context/logger.ts'
import type { PgliteDatabase } from './pglite-database.ts'
import { rowTypes } from './row-types.ts'
import { requireFiles } from './server-trust.ts'

/** Where the database is. */
export type DatabaseTarget =
  | { readonly url: string, readonly size: number }
  | { readonly embedded: PgliteDatabase }

const common = {
  pipeline: true,
  types: rowTypes,
  // Also bounds the wait for a free connection. Longer than a statement may take, so that one slow unit does not fail others.
  connectionTimeoutMillis: 20_000,
  keepAlive: true
} satisfies pg.PoolConfig

/**
 * Connections for units of work. Nothing waits for ever: not for a connection, and with `queryTimeoutMs` not for an answer
 * either; a connection that did not answer is closed. The caller ends the pool. Throws `THREADLINE_INVALID_CONFIGURATION` when a file of certificates
 * that the URL names cannot be read.
 */
export function openPool (target: DatabaseTarget, logger: Logger | undefined, queryTimeoutMs?: number): pg.Pool {
  if ('url' in target) requireFiles(target.url)
  const limit = queryTimeoutMs === undefined ? {} : { query_timeout: queryTimeoutMs }
  const pool = new pg.Pool('url' in target
    ? { ...common, ...limit, connectionString: target.url, max: target.size, idleTimeoutMillis: 60_000, application_name: 'threadline' }
    : { ...common, ...limit, ...embeddedConfig(target.embedded) })
  // Each connection has its own listener, since one that is in use has none of the pool, and the error would end the process.
  pool.on('connect', (client) => {
    client.on('error', (error) => { logger?.warn({ err: error }, 'A connection to the database was lost') })
  })
  pool.on('error', () => { /* told by the connection */ })
  return pool
}

// One connection, since there is one session. Everything is named here that pg would else take from the environment.
function embeddedConfig (embedded: PgliteDatabase): pg.PoolConfig {
  return {
    stream: () => embedded.openStream(),
    max: 1,
    idleTimeoutMillis: 0,
    ssl: false,
    host: 'embedded',
    user: 'postgres',
    password: '',
    database: 'postgres'
  }
}
