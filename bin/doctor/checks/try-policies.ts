import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { findingsOf, type Finding } from '../finding.ts'
import { reasonOf } from '../reason-of.ts'
import { inRolledBack, type Database } from './database.ts'
import { findTriedTables, toInsert, type TriedTable } from './tried-tables.ts'

const { ok, warning, failed } = findingsOf('Policies')
const noUser = 'TL001'
const forbidden = '42501'
const advice = 'Keep users out until it is put right: compare the policies (\\d+ in psql) with those of a new database, and find out who has changed them'

/** Two users whom nobody else is, and a thread of the first one. */
interface Trial {
  readonly client: pg.ClientBase
  readonly owner: string
  readonly other: string
  readonly threadId: string
}

/**
 * Whether users are kept apart, by trying: one user puts a row into each table, and another one, and nobody, try to read, change, remove and forge
 * it, in the role and with the login that the service uses. All of it is rolled back.
 */
export async function tryPolicies ({ pool }: Database): Promise<readonly Finding[]> {
  try {
    return await inRolledBack(pool, async (client) => {
      const tables = await findTriedTables(client)
      const trial = { client, owner: `doctor ${randomUUID()}`, other: `doctor ${randomUUID()}`, threadId: randomUUID() }
      await client.query('set local role threadline_app')
      const found: Finding[] = []
      for (const table of tables) found.push(...await tryTable(trial, table))
      if (found.length > 0) return found
      const names = tables.map(({ name }) => name).join(', ')
      return [ok(`another user can neither read, change, remove nor forge a row of ${names}, and nobody reads without a user`)]
    })
  } catch (error) {
    return [failed(`they could not be tried: ${reasonOf(error)}`, 'Put right what the other checks say first')]
  }
}

async function tryTable (trial: Trial, table: TriedTable): Promise<readonly Finding[]> {
  const { name } = table
  const { owner, other, threadId } = trial
  const mine = { text: `select 1 from threadline."${name}" where user_id = $1`, values: [owner] }
  await actAs(trial, owner)
  const put = await attempt(trial, toInsert(table), [owner, threadId], { stays: true })
  if (put.refused?.code === forbidden) return [failed(`a user may not store an own row in ${name}`, advice)]
  if (put.refused !== undefined) return [warning(`a row for ${name} could not be made: ${put.refused.message}`, 'Tell the maintainers: this check does not know the table')]
  if (table.readable && (await attempt(trial, mine.text, mine.values)).count !== 1) return [failed(`a user does not find the own row in ${name}`, advice)]

  await actAs(trial, other)
  const done: string[] = []
  const noteIf = async (what: string, text: string, values: readonly string[] = mine.values): Promise<void> => {
    if ((await attempt(trial, text, values)).count > 0) done.push(what)
  }
  if (table.readable) await noteIf('read', mine.text)
  if (table.readable && table.changeable !== null) {
    await noteIf('changed', `update threadline."${name}" set "${table.changeable}" = "${table.changeable}" where user_id = $1`)
  }
  if (table.readable && table.removable) await noteIf('removed', `delete from threadline."${name}" where user_id = $1`)
  const forged = await attempt(trial, toInsert(table), [owner, name === 'threads' ? randomUUID() : threadId])
  if (forged.refused?.code !== forbidden) done.push('forged')

  const crossed = done.length === 0 ? [] : [failed(`a row of ${name} can be ${done.join(', ')} by another user`, advice)]
  return [...crossed, ...await tryWithoutUser(trial, table)]
}

/** A query that names nobody has to fail: were it answered with nothing, a forgotten user would go unseen. */
async function tryWithoutUser (trial: Trial, { name, readable }: TriedTable): Promise<readonly Finding[]> {
  if (!readable) return []
  await actAs(trial, '')
  const { count, refused } = await attempt(trial, `select user_id from threadline."${name}" limit 1`, [])
  if (refused?.code === noUser) return []
  return [failed(count > 0 ? `${name} can be read without a user` : `${name} is not refused without a user`, advice)]
}

async function actAs ({ client }: Trial, user: string): Promise<void> {
  await client.query("select set_config('threadline.user_id', $1, true)", [user])
}

interface Attempt {
  /** Rows that were read or changed. */
  readonly count: number
  readonly refused: pg.DatabaseError | undefined
}

/** A statement whose refusal does not end the transaction. What others could do is undone, or the tables after this one would lack the owner's thread. */
async function attempt ({ client }: Trial, text: string, values: readonly string[], { stays = false } = {}): Promise<Attempt> {
  await client.query('savepoint attempt')
  try {
    const { rowCount } = await client.query(text, [...values])
    await client.query(stays ? 'release savepoint attempt' : 'rollback to savepoint attempt')
    return { count: rowCount ?? 0, refused: undefined }
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error
    await client.query('rollback to savepoint attempt')
    return { count: 0, refused: error }
  }
}
