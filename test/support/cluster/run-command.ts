import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Runs a program to its end, for at most a minute. Rejects with what it has said when it fails. */
export async function runCommand (file: string, args: readonly string[]): Promise<string> {
  const { stdout } = await run(file, args, { timeout: 60_000, cwd: '/' })
  return stdout
}

/** The same as the user that Postgres' package has made, where this is root: Postgres does not run as root. */
export async function runAsPostgres (file: string, args: readonly string[]): Promise<string> {
  if (process.getuid?.() !== 0) return await runCommand(file, args)
  return await runCommand('runuser', ['-u', 'postgres', '--', file, ...args])
}
