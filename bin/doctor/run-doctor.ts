import pg from 'pg'
import { isThreadlineError } from '../../lib/errors.ts'
import { compareDatabaseClock, type Now } from './checks/compare-clocks.ts'
import { compareWithDatabase } from './checks/compare-schema.ts'
import type { Database } from './checks/database.ts'
import { hearNotifications } from './checks/hear-notifications.ts'
import { inspectAuthentication, inspectNode, inspectSigningKey } from './checks/inspect-process.ts'
import { inspectRedis } from './checks/inspect-redis.ts'
import { inspectRoles } from './checks/inspect-roles.ts'
import { inspectRowSecurity } from './checks/inspect-row-security.ts'
import { inspectSettings } from './checks/inspect-settings.ts'
import { reachPostgres } from './checks/reach-postgres.ts'
import { reachTelemetry } from './checks/reach-telemetry.ts'
import { tryPolicies } from './checks/try-policies.ts'
import { parseDoctorArguments, type DoctorCommand } from './doctor-options.ts'
import { findingsOf, type Finding } from './finding.ts'
import { readConfiguration, type Configuration } from './read-configuration.ts'
import { reasonOf } from './reason-of.ts'
import { exitCodeOf, toJson, toText } from './report.ts'
import { usage } from './usage.ts'
import { within } from './within.ts'

type Environment = Readonly<Record<string, string | undefined>>

export interface DoctorTerminal {
  readonly stdout: { write (text: string): unknown }
  readonly stderr: { write (text: string): unknown }
}

/** For the longest of the checks: each of its questions has a limit of its own. */
const checkLimitMs = 30_000

/** Runs `threadline doctor`. Resolves with the exit code: 0 nothing is wrong, 1 something is, 2 it could not be tried. It never rejects. */
export async function runDoctor (args: readonly string[], environment: Environment, terminal: DoctorTerminal, now: Now = Date.now): Promise<number> {
  const parsed = parseDoctorArguments(args)
  switch (parsed.kind) {
    case 'help':
      terminal.stdout.write(usage)
      return 0
    case 'invalid':
      terminal.stderr.write(`${parsed.message}\nthreadline doctor --help tells what can be said.\n`)
      return 2
    case 'doctor': {
      const findings = await examine(parsed.command, environment, now)
      terminal.stdout.write(parsed.command.isJson ? toJson(findings) : toText(findings))
      return exitCodeOf(findings)
    }
  }
}

/** Everything that can be found out, in the order in which one would put it right. */
export async function examine ({ databaseUrl, redisUrl }: DoctorCommand, environment: Environment, now: Now): Promise<readonly Finding[]> {
  const effective = {
    ...environment,
    ...databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl },
    ...redisUrl === undefined ? {} : { REDIS_URL: redisUrl }
  }
  const configuration = await readConfiguration(effective).catch(toRefusal)
  const found = [...inspectNode(process.versions.node)]
  if ('check' in configuration) return [...found, configuration]
  found.push(...configuration.databaseUrl === undefined
    ? [findingsOf('Postgres').ok('is not used: the embedded database serves one process')]
    : await examineDatabase(configuration.databaseUrl, configuration, now))
  if (configuration.redisUrl !== undefined) found.push(...await bounded('Redis', inspectRedis(configuration.redisUrl, configuration.redisCaFile, now)))
  found.push(
    ...inspectSigningKey(configuration),
    ...await bounded('Authentication', inspectAuthentication(configuration)),
    ...await bounded('Telemetry', reachTelemetry(effective))
  )
  return found
}

function toRefusal (error: unknown): Finding {
  return findingsOf('Configuration').failed(
    isThreadlineError(error) ? error.message : reasonOf(error), 'docs/configuration.md tells what each variable may be'
  )
}

async function examineDatabase (url: string, { databaseListenUrl, databasePoolSize }: Configuration, now: Now): Promise<readonly Finding[]> {
  const pool = new pg.Pool({ connectionString: url, max: 2, connectionTimeoutMillis: 5_000, query_timeout: 12_000, application_name: 'threadline-doctor' })
  pool.on('error', () => { /* the next question tells it */ })
  const database: Database = { url, pool }
  try {
    const reached = await bounded('Postgres', reachPostgres(database))
    if (exitCodeOf(reached) !== 0) return reached
    return [
      ...reached,
      ...await bounded('Notifications', hearNotifications(database, databaseListenUrl)),
      ...await bounded('Schema', compareWithDatabase(database)),
      ...await bounded('Roles', inspectRoles(database)),
      ...await bounded('Row security', inspectRowSecurity(database)),
      ...await bounded('Policies', tryPolicies(database)),
      ...await bounded('Settings', inspectSettings(database, databasePoolSize)),
      ...await bounded('Clocks', compareDatabaseClock(database, now))
    ]
  } finally {
    await pool.end()
  }
}

/** A check that breaks or does not end is a finding, too. */
async function bounded (check: string, checking: Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await within(checkLimitMs, checking)
  } catch (error) {
    return [findingsOf(check).failed(`could not be checked: ${reasonOf(error)}`, 'Put right what the other checks say, and try again')]
  }
}
