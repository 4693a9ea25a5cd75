import { trace } from '@opentelemetry/api'
import {
  AlwaysOffSampler, AlwaysOnSampler, createAlwaysRecordSampler, NoopSpanProcessor, TracerProvider, type Sampler
} from '@opentelemetry/sdk-trace'
import { registerContextManager } from '../../lib/context/context-manager.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { withHop } from '../../lib/context/hop.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { newConnectionId, newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { createInheritanceCheck } from '../../lib/telemetry/inheritance-check.ts'
import { RunEvidence } from '../../lib/telemetry/run-evidence.ts'
import { answerQuestions } from '../support/program.ts'

/** The seven hops of a message and nothing else: unsampled or sampled by the first argument, checked by the second (`off`, `check`, `evidence`). */
const [sampling, what] = process.argv.slice(2)
const warmUp = 20_000

const sampler: Sampler = sampling === 'sampled' ? new AlwaysOnSampler() : new AlwaysOffSampler()
registerContextManager()
trace.setGlobalTracerProvider(new TracerProvider(what === 'off'
  ? { sampler, spanProcessors: [new NoopSpanProcessor()] }
  : { sampler: createAlwaysRecordSampler(sampler), spanProcessors: [createInheritanceCheck()] }))
if (what === 'evidence') new RunEvidence({ maxRuns: 1_000, maxSpans: 20_000, maxSpansPerTrace: 500 }).listen()

const userId = toUserId('alice')
const threadId = newThreadId()
const connectionId = newConnectionId()

const questions = {
  /** Microseconds of CPU for each span. */
  measure (messages: number): number {
    for (let index = 0; index < warmUp; index += 1) goAllTheWay()
    const before = process.cpuUsage()
    for (let index = 0; index < messages; index += 1) goAllTheWay()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / messages / 7
  }
}
answerQuestions(questions)
export type CheckedHops = typeof questions

function goAllTheWay (): void {
  const identity = createIdentity({ userId, threadId, connectionId, runId: newRunId(threadId) })
  enterThread(identity, () => withHop('socket.receive', {}, () => withHop('handler', {}, () => {
    withHop('registry', {}, () => {})
    withHop('engine', {}, () => {
      withHop('tool', {}, () => {})
      withHop('emitter', {}, () => withHop('socket.send', {}, () => {}))
    })
  })))
}
