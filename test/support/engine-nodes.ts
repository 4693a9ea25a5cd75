import type { Test } from 'tap'
import { createAgentRegistry } from '../../lib/agents/agent-registry.ts'
import type { Agent } from '../../lib/agents/define-agent.ts'
import { createIdentity, type Identity } from '../../lib/context/identity.ts'
import { createEngine, type Engine, type EngineOptions } from '../../lib/engine/engine.ts'
import { Slots } from '../../lib/engine/slots.ts'
import type { InProcessHub } from '../../lib/events/in-process-bus.ts'
import { createStoredEventLog } from '../../lib/events/stored-event-log.ts'
import { createModelRegistry } from '../../lib/models/model-registry.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { AcceptedMessage } from '../../lib/stores/run-store.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { alone, patientLimits, signed } from './engine-parts.ts'
import { createHaltingAgent, type HaltingAgent } from './halting-agent.ts'
import { createSilentLogger } from './silent-logger.ts'
import { as, messageOf } from './storage-databases.ts'

export interface EngineNode extends Pick<HaltingAgent, 'halted'> {
  readonly engine: Engine
  readonly logger: ReturnType<typeof createSilentLogger>
}

export interface NodeOptions extends Partial<Pick<EngineOptions, 'executes' | 'hasPeers' | 'queue' | 'maxRunAttempts' | 'signer' | 'pollIntervalMs'>> {
  readonly leaseMs?: number
  readonly slots?: number
  readonly agents?: readonly Agent[]
}

let nodes = 0

/** One of several nodes over a storage that they share: with an engine and a log of its own, as a process of its own would have. Closed with the test. */
export async function startNode (t: Test, storage: Storage, hub: InProcessHub, options: NodeOptions = {}): Promise<EngineNode> {
  const { leaseMs = 60_000, slots = 4, agents = [], queue = storage.queue, ...changes } = options
  const id = `node-${nodes += 1}`
  const { agent, halted } = createHaltingAgent()
  const logger = createSilentLogger()
  const log = createStoredEventLog({ store: storage.events, epoch: storage.epoch, logger })
  const engine = createEngine({
    ...alone(queue, { hasPeers: true, outlived: true, lease: { worker: id, leaseMs }, bus: hub.node(id) }),
    ...changes,
    runs: storage.runs,
    threads: storage.threads,
    messages: storage.messages,
    agents: createAgentRegistry({ agents: [agent, ...agents], models: createModelRegistry({ model: 'local' }) }),
    log,
    slots: new Slots(slots),
    logger,
    ...patientLimits
  })
  t.teardown(async () => {
    await engine.close(0)
    await log.close()
  })
  await engine.recover()
  return { engine, halted, logger }
}

/** A message whose run waits in the queue, and of which no engine has been told. */
export async function enqueue (storage: Storage, user: Identity, changes: Partial<AcceptedMessage> = {}): Promise<{ readonly thread: Identity, readonly run: RunRecord }> {
  const message = signed(user, messageOf({ agent: 'halting', ...changes }))
  await as(user, async () => await storage.runs.accept(message))
  const thread = createIdentity({ userId: user.userId, threadId: message.threadId })
  return { thread, run: await as(user, async () => await storage.runs.require(message.runId)) }
}

/** How a run of the user is stored, as soon as that is so. */
export async function untilRun (storage: Storage, user: Identity, { runId }: Pick<RunRecord, 'runId'>, is: (run: RunRecord) => boolean): Promise<RunRecord> {
  for (let asked = 0; asked < 3_000; asked += 1) {
    const run = await as(user, async () => await storage.runs.require(runId))
    if (is(run)) return run
    await new Promise((resolve) => { setTimeout(resolve, 10) })
  }
  throw new Error('The run never came so far')
}
