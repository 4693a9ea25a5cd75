import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

export interface ProgramResult {
  readonly exitCode: number | null
  readonly output: string
  readonly errors: string
}

/**
 * Runs a program with the telemetry preload, as `npm start` runs the server, and waits for its end. Of this process's environment it
 * gets nothing that could configure telemetry or Node.
 */
export async function runWithPreload (
  program: string, env: Readonly<Record<string, string>>, args: readonly string[] = []
): Promise<ProgramResult> {
  return await runProgram(['--import', './telemetry.ts', program, ...args], env)
}

/** The same, without the preload. */
export async function runProgram (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ProgramResult> {
  const root = new URL('../../', import.meta.url)
  const inherited = Object.entries(process.env).filter(([name]) => !/^(OTEL|NODE|TAP|BAGGAGE)_/.test(name))
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const exit = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  const [exitCode, output, errors] = await Promise.all([exit, text(child.stdout), text(child.stderr)])
  return { exitCode, output, errors }
}
