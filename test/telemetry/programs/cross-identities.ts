/** Continues a trace of alice in the name of bob, and tells what was found of it. */
import { trace } from '@opentelemetry/api'
import { currentIdentity, enterThread } from '../../../lib/context/current-thread.ts'
import { violationChannel } from '../../../lib/context/guard.ts'
import { withHop } from '../../../lib/context/hop.ts'
import { createIdentity } from '../../../lib/context/identity.ts'
import { newThreadId, toUserId } from '../../../lib/protocol/ids.ts'

const violations: unknown[] = []
violationChannel.subscribe((violation) => { violations.push(violation) })

const [alice, bob] = ['alice', 'bob'].map((user) => createIdentity({ userId: toUserId(user), threadId: newThreadId() }))
if (alice === undefined || bob === undefined) throw new Error('There are two')

const { identity, spanContext } = enterThread(alice, () => withHop('handler', {}, (span) => {
  return { identity: currentIdentity().userId, spanContext: span.spanContext() }
}))
enterThread(bob, () => { withHop('engine', {}, () => {}) }, { parent: { ...spanContext, isRemote: true } })

process.stdout.write(JSON.stringify({
  violations, identity, spanIds: trace.isSpanContextValid(spanContext), sampled: (spanContext.traceFlags & 1) === 1
}))
// oxlint-disable-next-line unicorn/no-process-exit
process.exit()
