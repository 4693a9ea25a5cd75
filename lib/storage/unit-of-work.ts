import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import pg from 'pg'
import type { CompiledQuery } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import { isOfConnection, toStorageError } from './storage-error.ts'
import { query } from './tables.ts'

/** A query that was built and not run. */
export interface Query<Row> { compile (builder: typeof query): CompiledQuery<Row> }

/** One transaction. It ends with the function that was given to `UnitsOfWork`, and is of no use after that. */
export interface UnitOfWork {
  rows<Row> (built: Query<Row>): Promise<readonly Row[]>
  /**
   * The rows of the last query of the unit: the commit travels right behind it, so that a unit of one query costs one round
   * trip.
   */
  lastRows<Row> (built: Query<Row>): Promise<readonly Row[]>
}

/**
 * The only way to the database. A unit is one transaction; the round trip that opens it also takes a role without
 * `BYPASSRLS` and names the user, all of it local to the transaction, so that nothing stays on a connection which others use
 * next. The unit is committed when its function returns and rolled back when it throws.
 */
export interface UnitsOfWork {
  /** In the name of the active identity, read now. Throws `THREADLINE_NO_CONTEXT` outside of one. */
  asUser<T> (work: (unit: UnitOfWork) => Promise<T>): Promise<T>
  /** In nobody's name: for the functions that name a user for each row themselves. Any other query raises. `own`: other limits than usual. */
  asOwners<T> (work: (unit: UnitOfWork) => Promise<T>, own?: Partial<TransactionLimits>): Promise<T>
  /** Under the role that sees unfinished runs and tickets, and nothing else. */
  asSystem<T> (work: (unit: UnitOfWork) => Promise<T>): Promise<T>
}

export interface TransactionLimits {
  readonly statementTimeoutMs: number
  readonly lockTimeoutMs: number
}

export function createUnitsOfWork (pool: pg.Pool, limits: TransactionLimits): UnitsOfWork {
  return {
    asUser: async (work) => await run(pool, opening('threadline_app', limits, currentIdentity().userId), work),
    asOwners: async (work, own) => await run(pool, opening('threadline_app', { ...limits, ...own }), work),
    asSystem: async (work) => await run(pool, opening('threadline_system', limits), work)
  }
}

// The limits are set here and not as start-up parameters of the connection, which a pooler refuses.
function opening (role: 'threadline_app' | 'threadline_system', limits: TransactionLimits, userId?: string): string {
  return `begin isolation level read committed; set local role ${role}; ` +
    `set local statement_timeout = ${limits.statementTimeoutMs}; set local lock_timeout = ${limits.lockTimeoutMs}` +
    (userId === undefined ? '' : `; set local threadline.user_id = ${pg.escapeLiteral(userId)}`)
}

async function run<T> (pool: pg.Pool, opening: string, work: (unit: UnitOfWork) => Promise<T>): Promise<T> {
  const transaction = await Transaction.open(pool, opening)
  try {
    const result = await work(transaction)
    await transaction.commit()
    return result
  } catch (error) {
    await transaction.rollback()
    throw error
  } finally {
    transaction.release()
  }
}

/**
 * open → committing → ended. The connection is in pipeline mode: the opening is sent and not waited for, the first query
 * follows at once. Should the opening fail, the queries behind it fail too, in the aborted transaction that it leaves.
 */
class Transaction implements UnitOfWork {
  readonly #client: pg.PoolClient
  readonly #opened: Promise<unknown>
  #committed: Promise<unknown> | undefined
  #ended = false
  #broken = false

  static async open (pool: pg.Pool, opening: string): Promise<Transaction> {
    try {
      // A connection outlives the unit that it was opened for: what happens to it later happens in nobody's name.
      return new Transaction(await context.with(ROOT_CONTEXT, () => pool.connect()), opening)
    } catch (error) {
      throw toStorageError(error)
    }
  }

  private constructor (client: pg.PoolClient, opening: string) {
    this.#client = client
    this.#opened = this.#send(opening)
  }

  async rows<Row> (built: Query<Row>): Promise<readonly Row[]> {
    this.#mustBeOpen()
    const { sql, parameters } = built.compile(query)
    return await this.#answer<Row>(this.#send(sql, parameters))
  }

  async lastRows<Row> (built: Query<Row>): Promise<readonly Row[]> {
    this.#mustBeOpen()
    const { sql, parameters } = built.compile(query)
    const answer = this.#send(sql, parameters)
    this.#committed = this.#send('commit')
    return await this.#answer<Row>(answer)
  }

  async commit (): Promise<void> {
    this.#committed ??= this.#send('commit')
    await this.#opened
    const { command } = await this.#committed as pg.QueryResult // one statement has one result
    this.#ended = true
    if (command !== 'COMMIT') throw new Error('The transaction was rolled back')
  }

  /** Never throws: a connection on which it fails is closed by `release`. */
  async rollback (): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await (this.#committed ?? this.#send('rollback')).catch(() => { this.#broken = true })
  }

  release (): void {
    this.#ended = true
    context.with(ROOT_CONTEXT, () => { this.#client.release(this.#broken) })
  }

  async #answer<Row> (sent: Promise<unknown>): Promise<readonly Row[]> {
    await this.#opened
    const { rows } = await sent as pg.QueryResult // one statement has one result
    return rows as Row[] // what Kysely has inferred for the query
  }

  #send (text: string, values?: readonly unknown[]): Promise<unknown> {
    const sent = this.#client.query(text, values === undefined ? undefined : [...values]).catch((error: unknown) => {
      this.#broken ||= isOfConnection(error) // after a failover the next one leads to the server that writes
      throw toStorageError(error)
    })
    sent.catch(() => undefined) // whoever needs the answer awaits it; until then it is not unhandled
    return sent
  }

  #mustBeOpen (): void {
    if (this.#ended || this.#committed !== undefined) throw new Error('The unit of work has ended')
  }
}
