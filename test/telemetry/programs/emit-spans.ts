/**
 * Ends `SPANS` spans in one go, emits a log record, flushes for at most `FLUSH_MS`, and tells how that went: how many connections were opened and what the
 * log context of a span within an identity was.
 */
import { subscribe } from 'node:diagnostics_channel'
import { logs, trace } from '@opentelemetry/api'
import { createIdentity } from '../../../lib/context/identity.ts'
import { enterThread } from '../../../lib/context/current-thread.ts'
import { withHop } from '../../../lib/context/hop.ts'
import { newThreadId, toUserId } from '../../../lib/protocol/ids.ts'
import { flushTelemetry } from '../../../lib/telemetry/flush.ts'
import { logContext } from '../../../lib/telemetry/log-context.ts'

let connections = 0
subscribe('net.client.socket', () => { connections += 1 })

const tracer = trace.getTracer('burst')
for (let index = 0; index < Number(process.env['SPANS'] ?? 0); index += 1) tracer.startSpan(`burst ${index}`).end()

logs.getLogger('burst').emit({ body: 'a record' })

const identity = createIdentity({ userId: toUserId('alice'), threadId: newThreadId() })
const fields = await enterThread(identity, async () => await withHop('handler', {}, async () => {
  await Promise.resolve()
  return logContext()
}))

const startedAt = performance.now()
const outcome = await flushTelemetry(Number(process.env['FLUSH_MS'] ?? 5000))
const flushMs = performance.now() - startedAt

process.stdout.write(JSON.stringify({ outcome, flushMs, connections, fields, identity }))
// As fastify-cli does when the server has closed: an exporter that retries would keep the process for seconds.
// oxlint-disable-next-line unicorn/no-process-exit
process.exit()
