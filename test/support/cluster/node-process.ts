import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { within } from '../within.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

/** One node of a cluster, as `npm start` runs it. */
export interface NodeProcess {
  readonly url: string
  readonly lines: readonly string[]
  readonly running: boolean
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>
  /** Sends a signal, and resolves like `exited`. */
  end (signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string>
  /** Stops it in the middle of whatever it does, until it thaws. */
  freeze (): void
  thaw (): void
}

/**
 * Starts a process of the service on a free port, with nothing of this process's environment that could configure it. `app` is the file that
 * fastify-cli loads. Resolves when it listens; rejects with its output when it does not come to that. Ended with the test.
 */
export async function startNode (t: Test, env: Readonly<Record<string, string>>, app = 'app.ts'): Promise<NodeProcess> {
  const inherited = Object.entries(process.env).filter(([name]) => /^(PATH|HOME|TMPDIR|LANG|TZ)$/.test(name))
  const command = ['--import', './telemetry.ts', 'node_modules/fastify-cli/cli.js', 'start', '-c', 'fastify.config.ts', app]
  const child = spawn(process.execPath, command, {
    cwd: new URL('../../../', import.meta.url),
    env: { ...Object.fromEntries(inherited), HOST: '127.0.0.1', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let running = true
  const exited = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => {
    running = false
    resolve(code ?? signal ?? 'unknown')
  }))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })

  const lines: string[] = []
  const url = await within(() => `the node to listen:\n${lines.slice(-40).join('\n')}`, new Promise<string>((resolve, reject) => {
    const read = (line: string): void => {
      lines.push(line)
      const address = /Server listening at (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (address !== undefined) resolve(address)
    }
    createInterface({ input: child.stdout }).on('line', read)
    createInterface({ input: child.stderr }).on('line', read)
    child.once('close', () => { reject(new Error(`The node did not start:\n${lines.slice(-40).join('\n')}`)) })
  }), 60_000)
  return {
    url,
    lines,
    get running () { return running },
    exited,
    async end (signal) {
      child.kill(signal)
      return await exited
    },
    freeze: () => { child.kill('SIGSTOP') },
    thaw: () => { child.kill('SIGCONT') }
  }
}
