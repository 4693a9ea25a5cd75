import { sql } from 'kysely'
import type { Migration } from 'kysely/migration'
import type { Logger } from '../context/logger.ts'
import type { Storage } from '../stores/storage.ts'
import { createAccountStore } from './account-store.ts'
import { openPool, type DatabaseTarget } from './connection-pool.ts'
import { keepUp } from './embedded-upkeep.ts'
import { createEventStore } from './event-store.ts'
import { createLimitStore } from './limit-store.ts'
import { createMessageStore } from './message-store.ts'
import { migrate } from './migrate.ts'
import { migrations as ownMigrations } from './migrations/migrations.ts'
import { PgliteDatabase } from './pglite-database.ts'
import { readProtection } from './protection.ts'
import { createQueueStore } from './queue-store.ts'
import { createRunStore } from './run-store.ts'
import { mayMigrate, requireSchema } from './schema-state.ts'
import { readSigningKey } from './signing-key.ts'
import { createThreadStore } from './thread-store.ts'
import { createTicketStore } from './ticket-store.ts'
import { createUnitsOfWork, type UnitsOfWork } from './unit-of-work.ts'
import { UnreadableRuns } from './unreadable-runs.ts'
import { createUpkeep } from './upkeep.ts'

/** A server by its URL, or the embedded database: in a folder, or in memory when neither is named. */
export interface StorageOptions {
  readonly databaseUrl?: string | undefined
  readonly dataFolder?: string | undefined
  readonly logger?: Logger | undefined
  /** Connections to the server. The embedded database has one. */
  readonly poolSize?: number | undefined
  /** Run after Threadline's own, in the order of their names. */
  readonly migrations?: Readonly<Record<string, Migration>> | undefined
}

const limits = { statementTimeoutMs: 15_000, lockTimeoutMs: 5_000 }
const queryTimeoutMs = 20_000
const defaultPoolSize = 10
// Two keep a server's connection and this process busy at the same time; more make batches smaller (`bench/cluster/commits.ts`).
const batchesAtOnce = 2

/**
 * Opens the storage and brings it to the newest state; with a login that may not do that, it must be in it already. A state that a newer
 * version has made is as good. Throws `THREADLINE_STORAGE_UNAVAILABLE`, `THREADLINE_INVALID_CONFIGURATION` for a server that is not trusted,
 * `THREADLINE_DATA_FOLDER_LOCKED` or `THREADLINE_MIGRATION_FAILED`, and then leaves nothing open. The caller closes it.
 */
export async function createStorage (options: StorageOptions): Promise<Storage> {
  const opened = new AsyncDisposableStack()
  try {
    const target = await openTarget(options, opened)
    await migrateTarget(target, options)
    const open = (of: DatabaseTarget): UnitsOfWork => {
      const pool = openPool(of, options.logger, queryTimeoutMs)
      opened.defer(async () => { await pool.end() })
      return createUnitsOfWork(pool, limits)
    }
    const units = open(target)
    // When everything else waits for a connection, whoever executes a run must still be able to say so.
    const more = 'url' in target ? { leases: open({ ...target, size: 1 }), batchesAtOnce } : {}
    return await openStores(units, async () => { await opened.disposeAsync() }, { ...more, logger: options.logger })
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}

async function openTarget (options: StorageOptions, opened: AsyncDisposableStack): Promise<DatabaseTarget> {
  const { databaseUrl, dataFolder, poolSize = defaultPoolSize, logger } = options
  if (databaseUrl !== undefined) return { url: databaseUrl, size: poolSize }
  const embedded = new PgliteDatabase(dataFolder, logger)
  opened.defer(async () => { await embedded.close() })
  await embedded.start()
  return { embedded }
}

// On connections of their own, without the limits that a unit of work has: a migration may take its time.
async function migrateTarget (target: DatabaseTarget, { logger, migrations }: StorageOptions): Promise<void> {
  const pool = openPool(target, logger)
  try {
    const { newer } = 'embedded' in target || await mayMigrate(pool)
      ? await migrate(pool, migrations)
      : await requireSchema(pool, Object.keys({ ...ownMigrations, ...migrations }))
    if (newer.length > 0) logger?.info({ migrations: newer }, 'The database has migrations of a newer version, and is used as it is')
    if ('embedded' in target) await keepUp(pool)
  } finally {
    await pool.end()
  }
}

/** What a server gives that the embedded database, with its one connection, does not. */
interface MoreThanOne {
  /** Where leases are renewed. */
  readonly leases?: UnitsOfWork
  readonly batchesAtOnce?: number
}

/** The storage on a database that is in the newest state. */
export async function openStores (
  units: UnitsOfWork, close: () => Promise<void>, { leases = units, batchesAtOnce = 1, logger }: MoreThanOne & { readonly logger?: Logger | undefined } = {}
): Promise<Storage> {
  const [row] = await units.asSystem(async (unit) => await unit.lastRows(sql<{ epoch: string }>`select threadline.epoch()`))
  const epoch = row?.epoch ?? ''
  const unreadable = new UnreadableRuns({ logger })
  return {
    threads: createThreadStore(units),
    messages: createMessageStore(units),
    runs: createRunStore(units, unreadable),
    events: createEventStore(units, epoch, batchesAtOnce),
    queue: createQueueStore(units, leases, unreadable),
    limits: createLimitStore(units),
    tickets: createTicketStore(units),
    account: createAccountStore(units),
    upkeep: createUpkeep(units),
    epoch,
    signingKey: async () => await readSigningKey(units),
    protection: async () => await readProtection(units),
    ping: async () => { await units.asSystem(async (unit) => { await unit.lastRows(sql`select 1`) }) },
    close
  }
}
