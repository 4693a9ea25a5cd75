import { SpanKind, trace } from '@opentelemetry/api'
import { ExportResultCode } from '@opentelemetry/core'
import { ParentBasedSampler, TraceIdRatioBasedSampler, TracerProvider, type SpanExporter } from '@opentelemetry/sdk-trace'
import type { RawData, WebSocket } from 'ws'
import { registerContextManager } from '../../lib/context/context-manager.ts'
import { currentThread, enterThread } from '../../lib/context/current-thread.ts'
import { withHop } from '../../lib/context/hop.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import { newConnectionId, newRunId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { createSpanQueue } from '../../lib/telemetry/span-queue.ts'
import { listenWithFastify } from '../support/fastify-sockets.ts'
import { serveMeasured } from '../support/measured-server.ts'

/** As `identity-echo`, with the seven hops of a message as spans. The share of traces that are sampled is the first argument. */

const userId = toUserId('alice')
const threadId = newThreadId()
const connectionId = newConnectionId()

const discarding: SpanExporter = {
  export: (_spans, done) => { done({ code: ExportResultCode.SUCCESS }) },
  shutdown: async () => {}
}

registerContextManager()
trace.setGlobalTracerProvider(new TracerProvider({
  sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(Number(process.argv[2])) }),
  // The product's own queue, with its own limits.
  spanProcessors: [createSpanQueue(discarding, {
    maxQueueSize: 65_536, maxExportBatchSize: 512, scheduledDelayMillis: 5000, exportTimeoutMillis: 30_000
  })]
}))

serveMeasured(async () => await listenWithFastify((socket, data) => {
  const identity = createIdentity({ userId, threadId, connectionId, runId: newRunId(threadId) })
  enterThread(identity, () => { hop(socket, data) })
}))

/** Nested as in a real message; the identity is read where handler, engine and tool read it. */
function hop (socket: WebSocket, data: RawData): void {
  withHop('socket.receive', { kind: SpanKind.SERVER }, () => withHop('handler', {}, () => {
    read()
    withHop('registry', {}, () => {})
    withHop('engine', {}, () => {
      read()
      withHop('tool', {}, read)
      withHop('emitter', {}, () => withHop('socket.send', {}, () => { socket.send(data, { binary: false }) }))
    })
  }))
}

function read (): void {
  if (currentThread().userId !== userId) throw new Error('This is somebody else')
}
