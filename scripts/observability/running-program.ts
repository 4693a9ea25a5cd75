import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { root } from './programs.ts'

export interface ProgramOptions {
  readonly name: string
  readonly command: readonly [string, ...string[]]
  readonly env: Readonly<Record<string, string>>
  /** Gives any answer but an error of the server once the program is ready. */
  readonly readyUrl: string
  readonly limitMs?: number
  /** How long it may take to end when asked to; 15 s without it. Then it is ended. */
  readonly stopLimitMs?: number
  /** Its output goes where this process's goes, and is not kept. */
  readonly shown?: boolean
}

export interface RunningProgram {
  /** What it has said, on both outputs: the last 200 lines. */
  readonly lines: readonly string[]
  /** Resolves with its exit code, or with what ended it. */
  readonly ended: Promise<number | string>
  /** Asks it to end, and waits for that. */
  stop (): Promise<void>
}

const keptLines = 200
const running = new Set<ChildProcess>()
process.once('exit', () => { for (const child of running) child.kill('SIGKILL') })

/**
 * Starts a program and resolves when it is ready. Rejects with its output when it ends before, or is not ready within the limit. It is in the
 * project's root, and in a process group of its own, so that Ctrl-C does not reach it: who starts it ends it.
 */
export async function startProgram (options: ProgramOptions): Promise<RunningProgram> {
  const { name, command: [file, ...args], env, readyUrl, limitMs = 60_000, stopLimitMs = 15_000, shown = false } = options
  const child = spawn(file, args, {
    cwd: root,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: shown ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    detached: true
  })
  running.add(child)
  const lines = keepLines(child)
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => { resolve(error.message) })
    child.once('close', (code, signal) => { resolve(code ?? signal ?? 'unknown') })
  })
  void ended.then(() => running.delete(child))

  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    const patience = new AbortController()
    const late = delay(stopLimitMs, undefined, { signal: patience.signal })
      .then(() => { child.kill('SIGKILL') }, () => {}) // it has ended in time
    await ended
    patience.abort()
    await late
  }

  const outcome = await Promise.race([untilReady(readyUrl, limitMs), ended])
  if (outcome === 'ready') return { lines, ended, stop }
  await stop()
  throw new Error(`${name} did not start (${outcome})\n${lines.join('\n')}`)
}

function keepLines ({ stdout, stderr }: ChildProcess): readonly string[] {
  const lines: string[] = []
  for (const input of [stdout, stderr]) {
    if (input === null) continue
    createInterface({ input }).on('line', (line) => {
      lines.push(line)
      if (lines.length > keptLines) lines.shift()
    })
  }
  return lines
}

async function untilReady (url: string, limitMs: number): Promise<'ready' | 'not ready in time'> {
  const before = performance.now() + limitMs
  while (performance.now() < before) {
    const answer = await fetch(url).catch(() => undefined) // nothing listens yet
    await answer?.body?.cancel()
    if (answer !== undefined && answer.status < 500) return 'ready'
    await delay(50)
  }
  return 'not ready in time'
}
