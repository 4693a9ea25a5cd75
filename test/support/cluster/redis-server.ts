import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { within } from '../within.ts'
import { findFreePort } from './free-port.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface RedisServer {
  readonly url: string
  /** As `kill -9`. */
  kill (): Promise<void>
  /** On the same port. `withData`: with what it knew, which it has written down; else it begins with nothing. */
  start (options: { readonly withData: boolean }): Promise<void>
}

/** The program, of Redis or of Valkey: that of `TEST_REDIS_SERVER`, else the one that is installed; undefined where neither is. */
export function findRedis (): string | undefined {
  const named = process.env['TEST_REDIS_SERVER']
  if (named !== undefined) return named
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders.flatMap((folder) => [join(folder, 'redis-server'), join(folder, 'valkey-server')]).find((file) => existsSync(file))
}

/** A server of the test's own, which can be killed and started again. Removed with the test. */
export async function startRedisServer (t: Test): Promise<RedisServer> {
  const program = findRedis()
  if (program === undefined) throw new Error('Redis is not installed')
  const [folder, port] = await Promise.all([mkdtemp(join(tmpdir(), 'threadline-redis-')), findFreePort()])
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'always', '--loglevel', 'warning']
  let child: ChildProcess | undefined

  const kill = async (): Promise<void> => {
    const ended = child === undefined ? undefined : once(child, 'exit')
    child?.kill('SIGKILL')
    await ended
    child = undefined
  }
  const start = async (): Promise<void> => {
    const started = spawn(program, args, { stdio: 'ignore' })
    child = started
    const answers = async (): Promise<void> => { while (!await canConnect(port)) await sleep(20) }
    await within('Redis to answer', Promise.race([answers(), once(started, 'exit').then(() => { throw new Error('Redis did not start') })]))
  }
  t.teardown(async () => {
    await kill()
    await rm(folder, { recursive: true, force: true })
  })
  await start()
  return {
    url: `redis://127.0.0.1:${port}/0`,
    kill,
    async start ({ withData }) {
      if (!withData) await rm(join(folder, 'appendonlydir'), { recursive: true, force: true })
      await start()
    }
  }
}

async function canConnect (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false // nobody listens yet
  } finally {
    socket.destroy()
  }
}
