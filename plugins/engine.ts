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
/** How long runs may go on when the server closes, before they are stopped. */
const closeGraceMs = 3_000

/** Executes runs. At start it ends what a killed process has left behind, and starts what waited. */
export default fp(async function engine (app) {
  const { maxConcurrentRuns, runTimeoutMs, stepTimeoutMs, toolTimeoutMs, stepLimit } = app.config
  const { storage, eventLog: log, agents, log: logger } = app
  const engine = createEngine({
    runs: storage.runs,
    threads: storage.threads,
    messages: storage.messages,
    log,
    agents,
    logger,
    slots: new Slots(maxConcurrentRuns),
    runTimeoutMs,
    stepTimeoutMs,
    toolTimeoutMs,
    stepLimit,
    waitNoticeMs
  })

  app.decorate('engine', engine)
  app.addHook('onReady', async () => { await engine.recover() })
  app.addHook('onClose', async () => { await engine.close(closeGraceMs) })
}, { name: 'engine', fastify: '5.x', dependencies: ['config', 'storage', 'event-log', 'agents'] })
