import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import type { UnitOfWork, UnitsOfWork } from './unit-of-work.ts'

/** The key of this database: made by the first process that asks, and the same for all of them. */
export async function readSigningKey (units: UnitsOfWork): Promise<Uint8Array> {
  return await units.asSystem(async (unit) => await storedKey(unit) ?? await makeKey(unit))
}

async function makeKey (unit: UnitOfWork): Promise<Uint8Array> {
  await unit.rows(sql`
    insert into threadline.secrets (name, value) values ('signing', ${randomBytes(32)}) on conflict (name) do nothing`)
  const key = await storedKey(unit) // another process may have been first
  if (key === undefined) throw new Error('The key was stored')
  return key
}

async function storedKey (unit: UnitOfWork): Promise<Uint8Array | undefined> {
  const [row] = await unit.rows(sql<{ value: Buffer }>`select value from threadline.secrets where name = 'signing'`)
  return row === undefined ? undefined : new Uint8Array(row.value)
}
