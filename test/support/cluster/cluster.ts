import { accessSettings } from './access.ts'
import type { Gateway } from './cluster-client.ts'
import { createThrowawayDatabase } from '../throwaway-database.ts'
import { startNode, type NodeProcess } from './node-process.ts'
import { startOutsideWorld, type OutsideWorld } from './outside-world.ts'
import { startProxy, type TcpProxy } from './tcp-proxy.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

export type Role = 'gateway' | 'worker' | 'all'

/** One node with its way to Postgres, and to Redis where there is one. */
export interface ClusterNode {
  readonly name: string
  readonly role: Role
  readonly postgres: TcpProxy
  readonly redis: TcpProxy | undefined
  /** The process that is, or was, this node. */
  readonly process: NodeProcess
  /** Starts it anew, after its process has ended; `app` is another version than the first one's. */
  restart (app?: string): Promise<void>
}

export interface Cluster {
  readonly world: OutsideWorld
  readonly nodes: readonly ClusterNode[]
  node (name: string): ClusterNode
  /** Gateways that run. */
  readonly gateways: () => readonly Gateway[]
  /** The last problems that a node's process has told, for a test that failed. */
  tail (name: string): string
}

export interface ClusterOptions {
  /** `gateway-0`, `gateway-1`, `worker-0` … in the order given. */
  readonly roles?: readonly Role[]
  /** A database of the test's own on the server of `TEST_DATABASE_URL` without it. */
  readonly databaseUrl?: string
  /** None without it: the nodes have Postgres alone. */
  readonly redisUrl?: string
  readonly env?: Readonly<Record<string, string>>
}

const usualRoles: readonly Role[] = ['gateway', 'gateway', 'worker', 'worker']
const signingKey = 'a key with which the nodes of a test cluster sign'

/** Starts the nodes of one service as processes, each behind proxies of its own, and what they talk to. Ended with the test. */
export async function startCluster (t: Test, { roles = usualRoles, databaseUrl, redisUrl, env = {} }: ClusterOptions = {}): Promise<Cluster> {
  const world = await startOutsideWorld(t)
  const database = databaseUrl ?? await throwaway(t)
  const settings = { ...accessSettings, ...outsideSettings(world), SIGNING_KEYS: signingKey, TITLE_MODEL: 'off', MESSAGES_PER_WINDOW: '100000', ...env }

  async function start (role: Role, index: number): Promise<ClusterNode> {
    const name = `${role}-${index}`
    const postgres = await startProxy(t, database)
    const redis = redisUrl === undefined ? undefined : await startProxy(t, redisUrl)
    const servers = { DATABASE_URL: postgres.url, ...(redis === undefined ? {} : { REDIS_URL: redis.url }) }
    const own = { THREADLINE_ROLE: role, OPENAI_COMPATIBLE_API_KEY: name, OTEL_SERVICE_NAME: name }
    const launch = async (app?: string): Promise<NodeProcess> => await startNode(t, { ...settings, ...servers, ...own }, app)
    let process = await launch()
    return {
      name,
      role,
      postgres,
      redis,
      get process () { return process },
      async restart (app) { process = await launch(app) }
    }
  }

  const places = roles.map((role, at) => ({ role, index: roles.slice(0, at).filter((other) => other === role).length }))
  const [first, ...others] = places
  if (first === undefined) throw new Error('A cluster needs a node')
  // The first one brings the schema up, alone, as a deployment does.
  const nodes = [await start(first.role, first.index)]
  nodes.push(...await Promise.all(others.map(async ({ role, index }) => await start(role, index))))

  const node = (name: string): ClusterNode => {
    const found = nodes.find((node) => node.name === name)
    if (found === undefined) throw new Error(`There is no ${name}`)
    return found
  }
  return {
    world,
    nodes,
    node,
    gateways: () => nodes.filter(({ role, process }) => role !== 'worker' && process.running).map(({ name, process }) => ({ name, url: process.url })),
    tail: (name) => node(name).process.lines.filter((line) => !line.startsWith('{"level":30')).slice(-8).map((line) => line.slice(0, 400)).join('\n')
  }
}

function outsideSettings ({ modelUrl, ledgerUrl }: OutsideWorld) {
  return {
    AGENTS_DIR: './test/support/cluster/agents',
    DEFAULT_AGENT: 'recorder',
    MODEL: 'compatible:outside',
    OPENAI_COMPATIBLE_BASE_URL: modelUrl,
    LEDGER_URL: ledgerUrl
  }
}

async function throwaway (t: Test): Promise<string> {
  const database = await createThrowawayDatabase()
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await database.drop() })
  return database.url
}
