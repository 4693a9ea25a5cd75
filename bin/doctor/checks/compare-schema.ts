import { isThreadlineError } from '../../../lib/errors.ts'
import { migrations } from '../../../lib/storage/migrations/migrations.ts'
import { mayMigrate, readSchemaState } from '../../../lib/storage/schema-state.ts'
import { findingsOf, type Finding } from '../finding.ts'
import { reasonOf } from '../reason-of.ts'
import type { Database } from './database.ts'

const { ok, warning, failed } = findingsOf('Schema')
const run = 'Run `threadline migrate` with the login that owns the database, and `--service-login` with the name of the one that servers use'

/** Whether the database has what this version needs. */
export async function compareWithDatabase ({ pool }: Database): Promise<readonly Finding[]> {
  const known = Object.keys(migrations)
  try {
    const { pending, newer } = await readSchemaState(pool, known)
    const lacking = pending.length === known.length ? `lacks all ${known.length} migrations` : `lacks ${pending.join(', ')}`
    if (pending.length > 0) return [await mayMigrate(pool) ? warning(`${lacking}, which the next server that starts will run`, run) : failed(lacking, run)]
    if (newer.length > 0) return [ok(`has all ${known.length} migrations, and of a newer version ${newer.join(', ')}`)]
    return [ok(`has all ${known.length} migrations`)]
  } catch (error) {
    if (isThreadlineError(error, 'THREADLINE_MIGRATION_FAILED')) return [failed('is not prepared for this login', run)]
    return [failed(`cannot be read: ${reasonOf(error)}`, run)]
  }
}
