import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import type { Authority, Certificate } from './certificates.ts'
import { findFreePort } from './cluster/free-port.ts'
import { findRedis } from './cluster/redis-server.ts'
import { within } from './within.ts'

export interface RedisServer {
  readonly url: string
  readonly port: number
  /** Ends it at once, as a crash would. */
  kill (): Promise<void>
  /** Starts it again on the same port, with nothing in it. */
  start (): Promise<void>
  ask (command: string, ...args: readonly string[]): Promise<unknown>
}

export interface RedisServerOptions {
  /** The only server of a cluster, with all slots. */
  readonly cluster?: boolean
  readonly password?: string
  /** It speaks TLS alone, and this is its certificate for `localhost`. */
  readonly encrypted?: { readonly authority: Authority, readonly certificate: Certificate }
}

/** A Redis of the test's own on a free port of loopback, which ends with the test. */
export async function startRedisServer (t: Test, { cluster = false, password, encrypted }: RedisServerOptions = {}): Promise<RedisServer> {
  const program = findRedis() ?? 'redis-server'
  const folder = await mkdtemp(join(tmpdir(), 'threadline-redis-'))
  const port = await findFreePort()
  const clusterPort = String(await findFreePort())
  let running: ChildProcess | undefined
  t.teardown(async () => {
    await kill()
    await rm(folder, { recursive: true, force: true })
  })

  const tls = encrypted === undefined ? {} : { tls: { ca: await readFile(encrypted.authority.file), servername: 'localhost' } }
  async function ask (command: string, ...args: readonly string[]): Promise<unknown> {
    const client = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: null, ...(password === undefined ? {} : { password }), ...tls })
    client.on('error', () => { /* told by connect */ })
    try {
      await client.connect()
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
    }
  }

  async function kill (): Promise<void> {
    const server = running
    running = undefined
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    await within('the end of Redis', ended)
  }

  async function start (): Promise<void> {
    running = spawn(program, [
      '--bind', '127.0.0.1', ...portOf(port, encrypted), '--dir', folder, '--save', '', '--appendonly', 'no',
      ...(password === undefined ? [] : ['--requirepass', password]),
      ...(cluster && encrypted !== undefined ? ['--tls-cluster', 'yes', '--cluster-announce-hostname', 'localhost', '--cluster-preferred-endpoint-type', 'hostname'] : []),
      ...(cluster ? ['--cluster-enabled', 'yes', '--cluster-port', clusterPort, '--cluster-announce-ip', '127.0.0.1', '--cluster-require-full-coverage', 'no'] : [])
    ], { stdio: 'ignore' })
    await within('a Redis that answers', answering())
    if (!cluster) return
    await ask('cluster', 'addslotsrange', '0', '16383').catch(() => undefined) // it may have kept them
    await within('the cluster', answering('cluster', (answer) => String(answer).includes('cluster_state:ok'), 'info'))
  }

  async function answering (command = 'ping', isRight: (answer: unknown) => boolean = () => true, ...args: readonly string[]): Promise<void> {
    for (;;) {
      if (running?.exitCode !== null) throw new Error('Redis has ended')
      if (await ask(command, ...args).then(isRight, () => false)) return
      await delay(20)
    }
  }

  await start()
  const login = password === undefined ? '' : `default:${password}@`
  const url = encrypted === undefined ? `redis://${login}127.0.0.1:${port}/0` : `rediss://${login}localhost:${port}/0`
  return { url, port, kill, start, ask }
}

function portOf (port: number, encrypted: RedisServerOptions['encrypted']): readonly string[] {
  if (encrypted === undefined) return ['--port', String(port)]
  const { authority, certificate: { certificate, key } } = encrypted
  return [
    '--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no',
    '--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', authority.file
  ]
}
