import { setTimeout as sleep } from 'node:timers/promises'
import { isEvent } from '../../is-event.ts'
import { createThrowawayDatabase } from '../../throwaway-database.ts'
import { accessSettings } from '../access.ts'
import { startChatting, type Chatting } from '../chatting.ts'
import { checkHistory, tellViolations } from '../check-history.ts'
import { startCluster, type Role } from '../cluster.ts'
import { faultsOfEffects, startOutsideWorld, type OutsideWorld } from '../outside-world.ts'
import { createRecorder } from '../recorder.ts'
import type { FaultyNode } from './faulty-node.ts'
import { startLocalNode } from './local-node.ts'
import type { Plan } from './plan.ts'
import { playFault } from './play-fault.ts'
import { processNode } from './process-node.ts'
import { createRandom } from './seeded-random.ts'
import { Teardowns } from './teardowns.ts'

export interface Played {
  readonly plan: Plan
  /** What was lost, doubled, crossed or left undone. */
  readonly problems: readonly string[]
  readonly messages: number
  /** Runs that another attempt has gone on with. */
  readonly resumed: number
  /** How often a client had to come back. */
  readonly reconnects: number
  /** The last things that nodes have said of problems. */
  readonly said: readonly string[]
}

interface Stage { readonly world: OutsideWorld, readonly nodes: readonly FaultyNode[] }

const users = ['alice', 'bob', 'carol']
/** Short, so that many faults fit in a minute: what is to happen when a lease is over happens soon. */
const quick = {
  LEASE_MS: '900', MAX_RUN_ATTEMPTS: '100', POLL_INTERVAL_MS: '250', DOUBTFUL_POLL_INTERVAL_MS: '60', SHUTDOWN_TIMEOUT_MS: '1000'
}
const modelPauseMs = 60
const calmMs = 300
const saidLines = 40

/** Plays one round: people chat while everything that was planned happens, and then it is checked what has become of it. Never throws. */
export async function playRound (plan: Plan): Promise<Played> {
  const teardowns = new Teardowns()
  const said: string[] = []
  const note = (line: string): void => {
    said.push(line)
    if (said.length > saidLines) said.shift()
  }
  let result: Omit<Played, 'plan' | 'said'> = { problems: [], messages: 0, resumed: 0, reconnects: 0 }
  try {
    const stage = plan.processes ? await openProcesses(teardowns, plan) : await openLocal(teardowns, plan, note)
    result = await play(teardowns, plan, stage)
  } catch (error) {
    result = { ...result, problems: [`stuck: ${error instanceof Error ? error.message : String(error)}`] }
  }
  const left = await teardowns.run()
  return { plan, said, ...result, problems: [...result.problems, ...left] }
}

async function play (t: Teardowns, plan: Plan, { world, nodes }: Stage): Promise<Omit<Played, 'plan' | 'said'>> {
  const gateways = () => nodes.flatMap(({ name, url }) => url === undefined ? [] : [{ name, url }])
  const chatting = await startChatting(t, gateways, users)
  const load = chatting.keepTalking()
  await playFaults(plan, nodes, chatting)
  await sleep(calmMs)
  await load.stop()
  const history = await chatting.finish()
  const ends = history.threads.flatMap(({ events }) => events.filter((event) => isEvent(event, 'agent_completed')))
  const failed = ends.filter(({ payload: { status } }) => status !== 'completed')
  const written = chatting.talkers.flatMap((talker) => talker.written)
  return {
    problems: [
      ...tellViolations(checkHistory(history)),
      ...faultsOfEffects(world.effects, written),
      ...failed.map(({ run_id: runId, sequence, payload: { status, reason, error } }) => `not completed: ${runId} is ${status} at ${sequence}: ${reason} ${error?.code}`)
    ],
    messages: history.threads.reduce((sum, { runs }) => sum + runs.length, 0),
    resumed: history.threads.reduce((sum, { events }) => sum + events.filter(({ type }) => type === 'agent_resumed').length, 0),
    reconnects: history.clients.reduce((sum, { connections }) => sum + connections.length - 1, 0)
  }
}

/** One after the other begins, and several last at the same time; but a node has one at a time. */
async function playFaults ({ faults }: Plan, nodes: readonly FaultyNode[], { talkers }: Chatting): Promise<void> {
  const clients = talkers.flatMap((talker) => talker.clients)
  const busy = new Map<FaultyNode, Promise<void>>()
  for (const fault of faults) {
    await sleep(fault.afterMs)
    const node = nodes[fault.node]
    if (node === undefined) throw new Error(`There is no node ${fault.node}`)
    await busy.get(node)
    const playing = playFault(node, fault, clients)
    playing.catch(() => undefined) // told below
    busy.set(node, playing)
  }
  await Promise.all(busy.values())
}

async function openLocal (t: Teardowns, { seed, roles, redis }: Plan, note: (line: string) => void): Promise<Stage> {
  const world = await startOutsideWorld(t, { pauseMs: modelPauseMs })
  const database = await createThrowawayDatabase({ migrated: true })
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await database.drop() })
  const redisUrl = redis ? process.env['TEST_REDIS_URL'] : undefined
  const random = createRandom(seed)
  const start = async (role: Role, index: number): Promise<FaultyNode> => {
    const name = `${role}-${index}`
    const env = {
      ...accessSettings,
      ...quick,
      AGENTS_DIR: './agents',
      DEFAULT_AGENT: 'recorder',
      MODEL: 'compatible:outside',
      OPENAI_COMPATIBLE_BASE_URL: world.modelUrl,
      OPENAI_COMPATIBLE_API_KEY: name,
      TITLE_MODEL: 'off',
      MESSAGES_PER_WINDOW: '100000'
    }
    return await startLocalNode(t, { name, role, databaseUrl: database.url, redisUrl, env, agent: createRecorder(world.ledgerUrl, name), random, note })
  }
  const [first, ...others] = roles
  if (first === undefined) throw new Error('A round needs a node')
  const nodes = [await start(first, 0)]
  nodes.push(...await Promise.all(others.map(async (role, index) => await start(role, index + 1))))
  return { world, nodes }
}

async function openProcesses (t: Teardowns, { roles, redis }: Plan): Promise<Stage> {
  const redisUrl = redis ? process.env['TEST_REDIS_URL'] : undefined
  const { world, nodes } = await startCluster(t, { roles, env: quick, ...(redisUrl === undefined ? {} : { redisUrl }) })
  return { world, nodes: nodes.map(processNode) }
}
