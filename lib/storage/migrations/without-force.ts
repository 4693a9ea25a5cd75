import { sql, type Kysely } from 'kysely'

/** Lets a migration change rows of every user: the owner of the tables is not bound by their policies meanwhile. */
export async function withoutForce (db: Kysely<unknown>, tables: readonly string[], change: () => Promise<void>): Promise<void> {
  for (const table of tables) await sql`alter table ${sql.id('threadline', table)} no force row level security`.execute(db)
  await change()
  for (const table of tables) await sql`alter table ${sql.id('threadline', table)} force row level security`.execute(db)
}
