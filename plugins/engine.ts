import fp from 'fastify-plugin'
import { createEngine, type Engine } from '../lib/engine/engine.ts'
import { Slots } from '../lib/engine/slots.ts'

declare module 'fastify' {
  interface FastifyInstance {
    engine: Engine
  }
}

/** How long a run waits for a free slot before the client is told. */
const waitNoticeMs = 1_000
/** How long runs may go on when the server closes, before they are left to another process, or stopped. */
const closeGraceMs = 3_000

/** Executes runs, where this node does that. At start it goes on with what a process that is no more has left. Closed before the bus, by which it says what it leaves. */
export default fp(async function engine (app) {
  const { maxConcurrentRuns, runTimeoutMs, stepTimeoutMs, toolTimeoutMs, stepLimit, leaseMs, maxRunAttempts, dataFolder } = app.config
  const { storage, eventLog: log, agents, log: logger, node, signer, bus } = app
  const engine = createEngine({
    runs: storage.runs,
    threads: storage.threads,
    messages: storage.messages,
    queue: storage.queue,
    log,
    agents,
    signer,
    bus,
    logger,
    slots: new Slots(maxConcurrentRuns),
    lease: { worker: node.id, leaseMs },
    executes: node.executes,
    hasPeers: node.hasPeers,
    outlived: node.hasPeers || dataFolder !== undefined,
    maxRunAttempts,
    runTimeoutMs,
    stepTimeoutMs,
    toolTimeoutMs,
    stepLimit,
    waitNoticeMs
  })

  app.decorate('engine', engine)
  app.addHook('onReady', async () => { await engine.recover() })
  app.addHook('onClose', async () => { await engine.close(closeGraceMs) })
}, { name: 'engine', fastify: '5.x', dependencies: ['config', 'node', 'signing', 'bus', 'storage', 'event-log', 'agents'] })
