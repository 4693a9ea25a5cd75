import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { readOtlpJson, type FoundSpans } from '../../verify/sources/otlp-json.ts'
import type { Span } from '../../verify/span.ts'
import { verifyTrace } from '../../verify/verify-trace.ts'
import { isEvent } from '../support/is-event.ts'
import { startOtlpReceiver, type OtlpReceiver } from '../support/otlp-receiver.ts'
import { traceIdOf } from '../support/trace-of.ts'
import { needsServers, openScene } from '../support/cluster/scene.ts'

t.setTimeout(280_000)

const turns = 5
/** Longer after the last span than a trace may be silent while a run in it goes on. */
const muchLaterMs = 3_600_000

t.test('a message has one trace from its gateway over a worker to both gateways, and it is clean', needsServers, async (t) => {
  const receiver = await startOtlpReceiver(t)
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_BSP_SCHEDULE_DELAY: '100' }
  const scene = await openScene(t, { env })

  await Promise.all(scene.chatting.talkers.map(async ({ say, clients }) => {
    for (let turn = 0; turn < turns; turn += 1) {
      const run = await say({ tool: true, from: turn % 2 === 0 ? 0 : 1 })
      await Promise.all(clients.map(async (client) => await client.toldEnd(run)))
    }
  }))
  const history = await scene.conclude()
  await Promise.all(scene.cluster.nodes.map(async ({ process }) => await process.end('SIGTERM')))

  const traces = Map.groupBy(spansOf(receiver), ({ traceId }) => traceId)
  const ends = history.threads.flatMap(({ events }) => events.filter((event) => isEvent(event, 'agent_completed')))
  t.equal(ends.length, turns * scene.chatting.talkers.length)
  t.equal(new Set(ends.map(traceIdOf)).size, ends.length, 'each message has a trace of its own')
  for (const end of ends) {
    const spans = traces.get(traceIdOf(end)) ?? []
    const { verdict, findings, incomplete } = verifyTrace(spans, { nowMs: Date.now() + muchLaterMs })
    t.same({ verdict, findings, incomplete }, { verdict: 'clean', findings: [], incomplete: [] }, `${end.thread_id} at ${end.sequence}`)
    t.match(servicesAt(spans, 'socket.receive'), [/^gateway-/])
    t.match(servicesAt(spans, 'engine'), [/^worker-/])
    t.same(servicesAt(spans, 'tool'), servicesAt(spans, 'engine'))
    t.same(servicesAt(spans, 'socket.send').toSorted(), ['gateway-0', 'gateway-1'], 'it is delivered by both')
    const users = new Set(spans.flatMap((span) => span.attributes[attributes.userId] ?? []))
    t.same([...users], [end.user_id], 'and names nobody else')
  }
})

function spansOf ({ requests }: OtlpReceiver): readonly Span[] {
  const found: FoundSpans = { spans: [], invalid: 0 }
  for (const { path, body } of requests) {
    if (path === '/v1/traces') readOtlpJson((JSON.parse(body.toString()) as { resourceSpans: unknown }).resourceSpans, found) // as the exporter writes it
  }
  if (found.invalid > 0) throw new Error(`${found.invalid} spans cannot be read`)
  return found.spans
}

/** The nodes that have done what a hop is about. */
function servicesAt (spans: readonly Span[], hop: string): readonly string[] {
  return [...new Set(spans.filter((span) => span.attributes[attributes.hop] === hop).map(({ service }) => service ?? ''))]
}
