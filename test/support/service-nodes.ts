import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import threadline, { options as serverOptions, type AppOptions } from '../../app.ts'
import { startBalancer } from './balancer.ts'
import { watchAnswers } from './conformance-record.ts'
import { createThrowawayDatabase } from './throwaway-database.ts'
import { topology } from './topology.ts'

export interface LogLine { readonly level: number, readonly msg: string, readonly [field: string]: unknown }

export interface NodesOptions extends Omit<AppOptions, 'env'> {
  readonly env?: Readonly<Record<string, string | number | undefined>>
  /** Fewer nodes of a role than the cluster has (`fewer-nodes.ts` says why). Elsewhere there is one process anyway. */
  readonly only?: { readonly gateways?: 1, readonly workers?: 1, readonly process?: 1 }
}

/** The processes of one service, all of them in this one. */
export interface ServiceNodes {
  readonly gateways: readonly FastifyInstance[]
  /** The same ones where there is one process for everything. */
  readonly workers: readonly FastifyInstance[]
  /** Those of one of the nodes that serve users. */
  readonly routes: readonly RouteOptions[]
  /** Where users come in: `http://127.0.0.1:<port>` */
  readonly url: string
  /** Of all of them. */
  readonly log: readonly LogLine[]
  close (): Promise<void>
}

type Env = NonNullable<NodesOptions['env']>

/** Tests count what their sockets receive, what models are asked and how threads change: a title would come in between at any time. */
const quiet = { MESSAGES_PER_WINDOW: 100_000, TITLE_MODEL: 'off' }

/**
 * The service as the topology lays it out, over a database of its own: the real plugins, with nothing put in place of anything. What a cluster's nodes have
 * in common is set for all of them, as who runs them would.
 */
export async function startNodes (options: NodesOptions): Promise<ServiceNodes> {
  const opened = new AsyncDisposableStack()
  try {
    const layout = layoutOf(options.only)
    const shared = await sharedEnv(opened, options.only)
    const log: LogLine[] = []
    const start = async (role: string) => await startNode(log, { ...options, env: { ...shared, ...quiet, THREADLINE_ROLE: role, ...options.env } })
    // Closed last: what the gateways still ask for is done.
    const workers = await startAll(layout.workers, start, opened)
    const gateways = layout.gateways.length === 0 ? workers : await startAll(layout.gateways, start, opened)
    const [first] = gateways
    if (first === undefined) throw new Error('A service needs a node')
    return {
      gateways: gateways.map(({ app }) => app),
      workers: workers.map(({ app }) => app),
      routes: first.routes,
      url: gateways.length === 1 ? first.url : await balance(opened, gateways),
      log,
      close: async () => { await opened.disposeAsync() }
    }
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}

function layoutOf (only: NodesOptions['only'] = {}): { readonly workers: readonly string[], readonly gateways: readonly string[] } {
  if (topology !== 'cluster' || only.process === 1) return { workers: ['all'], gateways: [] }
  return {
    workers: Array.from({ length: only.workers ?? 2 }, () => 'worker'),
    gateways: Array.from({ length: only.gateways ?? 2 }, () => 'gateway')
  }
}

async function sharedEnv (opened: AsyncDisposableStack, only: NodesOptions['only']): Promise<Env> {
  if (topology === 'embedded') return { DATA_DIR: 'memory' }
  const database = await createThrowawayDatabase({ migrated: true })
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  opened.defer(database.drop)
  if (topology === 'postgres' || only?.process === 1) return { DATABASE_URL: database.url }
  return {
    DATABASE_URL: database.url,
    DATABASE_POOL_SIZE: 5,
    REDIS_URL: process.env['TEST_REDIS_URL'],
    SIGNING_KEYS: randomBytes(32).toString('hex')
  }
}

interface Node {
  readonly app: FastifyInstance
  readonly routes: readonly RouteOptions[]
  readonly url: string
}

async function startAll (roles: readonly string[], start: (role: string) => Promise<Node>, opened: AsyncDisposableStack): Promise<readonly Node[]> {
  const started = await Promise.allSettled(roles.map(start))
  const nodes = started.flatMap((node) => node.status === 'fulfilled' ? [node.value] : [])
  opened.defer(async () => { await Promise.all(nodes.map(async ({ app }) => { await app.close() })) })
  for (const node of started) if (node.status === 'rejected') throw node.reason
  return nodes
}

async function startNode (log: LogLine[], options: AppOptions): Promise<Node> {
  const stream = { write (line: string) { log.push(JSON.parse(line) as LogLine) } }
  const app = Fastify({ ...serverOptions, logger: { ...serverOptions.logger, level: 'info', stream }, pluginTimeout: 120_000 })
  watchAnswers(app)
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => { routes.push(route) })
  try {
    await app.register(threadline, options)
    return { app, routes, url: await app.listen({ host: '127.0.0.1', port: 0 }) }
  } catch (error) {
    await app.close()
    throw error
  }
}

async function balance (opened: AsyncDisposableStack, nodes: readonly Node[]): Promise<string> {
  const balancer = await startBalancer(nodes.map(({ app }) => (app.server.address() as AddressInfo).port)) // they listen on ports
  opened.defer(() => { balancer.close() })
  return balancer.url
}
