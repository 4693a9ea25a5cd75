import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from '@babel/parser'
import type { Kill } from './fault.ts'
import { applied, killEnvironment, killSource, urlOfKill } from './kill-order.ts'

/** A program that has ended. */
export interface EndedProgram {
  /** Null when it had to be ended. */
  readonly exitCode: number | null
  readonly output: string
}

export interface ProgramOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly timeLimitMs: number
}

/**
 * Runs a program of the project, which the arguments of `node` name, and all processes that it starts, while one line of one source file is
 * another. Rejects when the kill did not hit: the line does not occur exactly once, what it leaves is no program, or no process has
 * loaded the file.
 */
export async function runKilled (kill: Kill, args: readonly string[], options: ProgramOptions): Promise<EndedProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-kill-'))
  try {
    await checkSyntax(kill)
    const notes = join(folder, 'notes')
    await writeFile(notes, '')
    const env = options.env ?? process.env
    const ended = await runProgram(args, { ...options, env: { ...env, ...killEnvironment({ kill, notes }, env) } })
    requireHit(kill, await readFile(notes, 'utf8'))
    return ended
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Runs a program of the project with all of its protections. */
export async function runProgram (args: readonly string[], { env, timeLimitMs }: ProgramOptions): Promise<EndedProgram> {
  const child = spawn(process.execPath, args, { cwd: join(import.meta.dirname, '..'), stdio: ['ignore', 'pipe', 'pipe'], env })
  let output = ''
  const gather = (chunk: string): void => { output += chunk }
  child.stdout.setEncoding('utf8').on('data', gather)
  child.stderr.setEncoding('utf8').on('data', gather)
  const timer = setTimeout(() => {
    child.kill('SIGKILL')
    // What it leaves behind may hold them open.
    child.stdout.destroy()
    child.stderr.destroy()
  }, timeLimitMs)
  const exitCode = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  clearTimeout(timer)
  return { exitCode, output }
}

/** A file that cannot even be read would turn every test red, and prove nothing. */
async function checkSyntax (kill: Kill): Promise<void> {
  const killed = killSource(await readFile(new URL(urlOfKill(kill)), 'utf8'), kill)
  try {
    parse(killed, { sourceType: 'module', plugins: ['typescript'] })
  } catch (cause) {
    throw new Error(`${kill.file} is not a program any more: ${kill.what}`, { cause })
  }
}

function requireHit (kill: Kill, notes: string): void {
  const lines = notes.split('\n').filter((note) => note !== '')
  const problem = lines.find((note) => note !== applied)
  if (problem !== undefined) throw new Error(problem)
  if (lines.length === 0) throw new Error(`${kill.file} was never loaded: ${kill.what}`)
}
