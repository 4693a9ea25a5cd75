import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { openSocket, TestSocket } from './test-socket.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface TestService {
  readonly url: string
  readonly lines: readonly string[]
  token (user: string): Promise<string>
  connect (user: string, options?: { thread?: string }): Promise<TestSocket>
  /**
   * Ends the process with a signal, and resolves with its exit code or the signal. With `whole`, the processes that it has started are
   * ended in the same moment: for a service that was started as a group.
   */
  kill (signal: 'SIGKILL' | 'SIGTERM', options?: { whole?: boolean }): Promise<number | string>
  /** Stops the process in the middle of whatever it does, until it thaws. */
  freeze (): void
  thaw (): void
}

/**
 * The service as `npm start` runs it, in a process of its own, on a free port. Resolves when it listens; rejects with its output when
 * it does not come to that. Ended with the test.
 */
export async function startService (
  t: Test, env: Readonly<Record<string, string>>, { group = false }: { group?: boolean } = {}
): Promise<TestService> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(OTEL|NODE|TAP|AUTH|DATABASE)_/.test(name))
  const command = ['--import', './telemetry.ts', 'node_modules/fastify-cli/cli.js', 'start', '-c', 'fastify.config.ts', 'app.ts']
  const child = spawn(process.execPath, command, {
    cwd: new URL('../../', import.meta.url),
    env: { ...Object.fromEntries(inherited), PORT: '0', HOST: '127.0.0.1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: group
  })
  const ended = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => { resolve(code ?? signal ?? 'unknown') }))
  const kill: TestService['kill'] = async (signal, { whole = false } = {}) => {
    if (whole && child.pid !== undefined) process.kill(-child.pid, signal)
    else child.kill(signal)
    return await ended
  }
  t.teardown(async () => { await kill('SIGKILL') })

  const lines: string[] = []
  const url = await new Promise<string>((resolve, reject) => {
    const read = (line: string): void => {
      lines.push(line)
      const address = /Threadline listens at ws:\/\/([^/]+)\//.exec(line)?.[1]
      if (address !== undefined) resolve(`http://${address}`)
    }
    createInterface({ input: child.stdout }).on('line', read)
    createInterface({ input: child.stderr }).on('line', read)
    child.once('close', () => { reject(new Error(`The service did not start:\n${lines.join('\n')}`)) })
  })

  const token = async (user: string): Promise<string> => {
    const response = await fetch(`${url}/v1/dev/tokens`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user_id: user })
    })
    return (await response.json() as { token: string }).token
  }

  return {
    url,
    lines,
    kill,
    freeze: () => { child.kill('SIGSTOP') },
    thaw: () => { child.kill('SIGCONT') },
    token,
    async connect (user, { thread } = {}) {
      const query = thread === undefined ? '' : `?thread_id=${thread}`
      const protocols = ['threadline.v1', `bearer.${await token(user)}`]
      const socket = await openSocket(`${url.replace('http', 'ws')}/v1/socket${query}`, { protocols })
      if (!(socket instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(socket)}`)
      await socket.until('connection_established')
      return socket
    }
  }
}
