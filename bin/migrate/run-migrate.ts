import type { Readable } from 'node:stream'
import { isThreadlineError } from '../../lib/errors.ts'
import { openPool } from '../../lib/storage/connection-pool.ts'
import { migrate } from '../../lib/storage/migrate.ts'
import { ensureServiceLogin } from '../../lib/storage/service-login.ts'
import { parseMigrateArguments, type MigrateCommand } from './migrate-options.ts'
import { readPassword } from './read-password.ts'
import { usage } from './usage.ts'

export interface MigrateTerminal {
  readonly stdin: Readable
  readonly stdout: { write (text: string): unknown }
  readonly stderr: { write (text: string): unknown }
}

type Environment = Readonly<Record<string, string | undefined>>

/** Runs `threadline migrate`. Resolves with the exit code: 0 done, 1 refused, 2 could not be tried. It never rejects. */
export async function runMigrate (args: readonly string[], environment: Environment, terminal: MigrateTerminal): Promise<number> {
  const parsed = parseMigrateArguments(args, environment)
  switch (parsed.kind) {
    case 'help':
      terminal.stdout.write(usage)
      return 0
    case 'invalid':
      terminal.stderr.write(`${parsed.message}\nthreadline migrate --help tells what can be said.\n`)
      return 2
    case 'migrate':
      try {
        await bringUp(parsed.command, terminal)
        return 0
      } catch (error) {
        terminal.stderr.write(`${toSentences(error)}\n`)
        return isThreadlineError(error, 'THREADLINE_MIGRATION_FAILED') ? 1 : 2
      }
  }
}

async function bringUp ({ databaseUrl, serviceLogin, password }: MigrateCommand, { stdin, stdout }: MigrateTerminal): Promise<void> {
  // Before anything is changed: what is missing then is only the password.
  const secret = password === 'standard input' ? await readPassword(stdin) : password?.value
  const pool = openPool({ url: databaseUrl, size: 1 }, undefined)
  try {
    const { ran, newer } = await migrate(pool)
    for (const name of ran) stdout.write(`  ran ${name}\n`)
    if (newer.length > 0) stdout.write(`  A newer version has added ${newer.join(', ')}\n`)
    stdout.write(`✓ ${ran.length === 0 ? 'The schema was in the newest state' : 'The schema is in the newest state'}\n`)
    if (serviceLogin === undefined) return
    const outcome = await ensureServiceLogin(pool, { name: serviceLogin, password: secret })
    stdout.write(`✓ The login ${serviceLogin} was ${outcome}: it owns nothing, and may take threadline_app and threadline_system\n`)
  } finally {
    await pool.end()
  }
}

/** The error and what has caused it, without a stack, and without what was asked: a statement may hold a password's verifier. */
function toSentences (error: unknown): string {
  const sentences: string[] = []
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { message, hint } = cause as Error & { hint?: string } // what an error of the database has
    const sentence = message === '' ? cause.name : hint === undefined ? message : `${message} (${hint})`
    if (!sentences.includes(sentence)) sentences.push(sentence)
  }
  return sentences.length === 0 ? String(error) : sentences.join('\n  ')
}
