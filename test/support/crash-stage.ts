import { createAgentRegistry, type AgentRegistry } from '../../lib/agents/agent-registry.ts'
import type { Agent } from '../../lib/agents/define-agent.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createRunIdentity, type Identity } from '../../lib/context/identity.ts'
import { parseTraceparent } from '../../lib/context/traceparent.ts'
import type { EndedRun } from '../../lib/engine/ended-runs.ts'
import { executeRun } from '../../lib/engine/execute-run.ts'
import { Slots } from '../../lib/engine/slots.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import type { EventLog } from '../../lib/events/event-log.ts'
import { createStoredEventLog } from '../../lib/events/stored-event-log.ts'
import type { LanguageModel } from '../../lib/models/model-registry.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import type { RunId } from '../../lib/protocol/ids.ts'
import type { RunRecord } from '../../lib/stores/run-record.ts'
import type { RunStep } from '../../lib/stores/run-step.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { createSilentLogger } from './silent-logger.ts'
import { as, messageOf, newcomer } from './storage-databases.ts'

/** A run whose processes die when the test says so, over a real storage. */
export interface Crashing {
  readonly runId: RunId
  /**
   * Claims the run once more, as another process would, and executes it until `events` more are stored; then the process is gone: nothing that it
   * would store is. Without a number it lives. `stopping` stops the run.
   */
  attempt (events?: number, stopping?: AbortController): Promise<EndedRun | undefined>
  /** Everything that the log has of the run. */
  told (): Promise<readonly ThreadEvent[]>
  steps (): Promise<readonly RunStep[]>
  /** What the thread's state says that the run has said; undefined once it has ended. */
  said (): Promise<string | undefined>
  answer (): Promise<string | undefined>
}

export interface CrashStage {
  begin (agent: string, options?: { traceparent?: string }): Promise<Crashing>
}

export function createCrashStage (storage: Storage, agents: readonly Agent[], models: ReadonlyMap<string, LanguageModel> = new Map()): CrashStage {
  const logger = createSilentLogger()
  const log = createStoredEventLog({ store: storage.events, epoch: storage.epoch, logger })
  const registry = createAgentRegistry({ agents, models: modelsOf(models) })
  return {
    async begin (agent, { traceparent } = {}) {
      const user = newcomer()
      const message = messageOf({ agent, traceparent })
      await as(user, async () => await storage.runs.accept(message))
      const { runId, threadId } = message
      return {
        runId,
        attempt: async (events, stopping = new AbortController()) =>
          await attempt({ storage, registry, user, stopping, log: mortal(log, events) }, threadId),
        told: async () => {
          const told = await as(user, async () => await storage.events.read(threadId, 0, 1_000))
          return told === 'expired' ? [] : told
        },
        steps: async () => await as(user, async () => await storage.queue.steps(runId)),
        said: async () => (await as(user, async () => await storage.threads.state(threadId))).activeRuns[0]?.text,
        answer: async () => {
          const { messages } = await as(user, async () => await storage.messages.history(threadId, { limit: 10 }))
          return messages.find(({ role }) => role === 'assistant')?.content
        }
      }
    }
  }
}

interface Attempt {
  readonly storage: Storage
  readonly registry: AgentRegistry
  readonly user: Identity
  readonly stopping: AbortController
  readonly log: EventLog
}

async function attempt ({ storage, registry, user, stopping, log }: Attempt, threadId: RunRecord['threadId']): Promise<EndedRun | undefined> {
  const [running] = await as(user, async () => await storage.runs.unfinished(threadId))
  if (running?.status === 'running') await as(user, async () => { await storage.queue.release(running) })
  const run = await as(user, async () => await storage.runs.claimNext(threadId, { worker: `worker ${running?.attempt ?? 0}`, leaseMs: 60_000 }))
  if (run === undefined) throw new Error('There was nothing to claim')
  const identity = createRunIdentity({ userId: run.userId, threadId, runId: run.runId, requestId: run.requestId })
  return await enterThread(identity, async () => await executeRun(run, stopping, {
    agents: registry,
    messages: storage.messages,
    runs: storage.runs,
    queue: storage.queue,
    log,
    slots: new Slots(1),
    logger: createSilentLogger(),
    runTimeoutMs: 20_000,
    stepTimeoutMs: 20_000,
    toolTimeoutMs: 20_000,
    stepLimit: 8,
    waitNoticeMs: 20_000
  }), { parent: parseTraceparent(run.traceparent) })
}

/** The log of a process that dies behind its last event. To the database, one that is refused and one that is not there are the same. */
function mortal (log: EventLog, events = Infinity): EventLog {
  let left = events
  return {
    ...log,
    async append (...appended) {
      if (left <= 0) throw new ThreadlineError('THREADLINE_CONFLICT', 'The process is gone')
      left -= 1
      return await log.append(...appended)
    }
  }
}

function modelsOf (models: ReadonlyMap<string, LanguageModel>) {
  return {
    resolve (name: string) {
      const model = models.get(name)
      if (model === undefined) throw new Error(`There is no model ${name}`)
      return model
    },
    toError: (cause: unknown) => new ThreadlineError('THREADLINE_MODEL_FAILED', undefined, { cause })
  }
}
