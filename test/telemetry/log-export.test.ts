import { logs, type LogRecord as ApiLogRecord } from '@opentelemetry/api'
import t from 'tap'
import { parseTraceparent } from '../../lib/context/traceparent.ts'
import { exportLine } from '../../lib/telemetry/log-export.ts'
import { findClosedEndpoint, startOtlpReceiver, type OtlpReceiver } from '../support/otlp-receiver.ts'
import { startService } from '../support/start-service.ts'

interface Value { readonly stringValue?: string, readonly intValue?: number | string }

/** A log record as OTLP's JSON has it, as far as it is read here. */
interface LogRecord {
  readonly traceId?: string
  readonly spanId?: string
  readonly severityNumber: number
  readonly body: Value
  readonly attributes: readonly { readonly key: string, readonly value: Value }[]
}

function recordsOf ({ requests }: OtlpReceiver): readonly LogRecord[] {
  return requests.filter(({ path }) => path === '/v1/logs').flatMap(({ body }) => {
    const { resourceLogs } = JSON.parse(body.toString()) as { resourceLogs: { scopeLogs: { logRecords: LogRecord[] }[] }[] } // by the exporter
    return resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords))
  })
}

const jwt = `${btoa('{"alg":"HS256"}')}.${btoa('{"sub":"mallory"}')}.c2lnbmF0dXJl`.replaceAll('=', '')

t.test('the lines of a message carry the trace of that message, and leave by OTLP with it and without secrets', async (t) => {
  const receiver = await startOtlpReceiver(t)
  // Each model call fails, which is logged in the run; and each request is logged with its URL.
  const service = await startService(t, {
    DATA_DIR: 'memory', MODEL: 'compatible:none', OPENAI_COMPATIBLE_BASE_URL: `${await findClosedEndpoint()}/v1`, TITLE_MODEL: 'off',
    OTEL_LOGS_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json'
  })
  const socket = await service.connect('alice')

  const accepted = await socket.ask({ type: 'user_message', payload: { content: 'Hello?', agent: 'assistant' } })
  const { run_id: runId, traceparent } = await socket.until('agent_completed')
  await fetch(`${service.url}/v1/nowhere/${jwt}?ticket=abcdefgh`, { headers: { authorization: `Bearer ${jwt}` } })
  await service.kill('SIGTERM')

  const trace = parseTraceparent(traceparent)?.traceId
  t.equal(parseTraceparent(accepted.traceparent)?.traceId, trace, 'one trace')
  const lines = service.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>)
  const ofRun = lines.filter((line) => line['run_id'] === runId)
  t.ok(ofRun.some(({ msg }) => msg === 'a run failed'))
  t.ok(ofRun.every((line) => line['trace_id'] === trace))

  const records = recordsOf(receiver)
  const [failed] = records.filter(({ body }) => body.stringValue === 'a run failed')
  const found = new Map(failed?.attributes.map(({ key, value }) => [key, value.stringValue]))
  t.equal(failed?.traceId, trace)
  t.equal(failed?.spanId, ofRun.find(({ msg }) => msg === 'a run failed')?.['span_id'])
  t.equal(failed?.severityNumber, 13)
  t.equal(found.get('user.id'), 'alice')
  t.equal(found.get('threadline.run.id'), runId)
  t.equal(found.get('gen_ai.conversation.id'), socket.events.find((event) => event.run_id === runId)?.thread_id)
  t.match(found.get('exception.stacktrace'), /Error/)

  // kill: give `line` and not `redacted` to exportLine in lib/telemetry/logger-options.ts
  const sent = JSON.stringify(records)
  t.match(sent, /v1\/nowhere/, 'the request was logged')
  for (const secret of [jwt, 'abcdefgh']) {
    t.notOk(sent.includes(secret), 'by OTLP')
    t.notOk(service.lines.some((line) => line.includes(secret)), 'on standard output')
  }
})

// kill: the try in exportLine.
t.test('a line that cannot be exported does not make the call fail that has logged it', async (t) => {
  const emitted: ApiLogRecord[] = []
  const emit = (record: ApiLogRecord): void => {
    emitted.push(record)
    throw new Error('a processor broke')
  }
  logs.setGlobalLoggerProvider({ getLogger: () => ({ enabled: () => true, emit }) })
  t.teardown(() => { logs.disable() })

  t.doesNotThrow(() => { exportLine('{"level":30,"time":1,"msg":"one"}\n') })
  t.doesNotThrow(() => { exportLine('no JSON') })

  t.match(emitted, [{ body: 'one' }, { body: 'no JSON' }])
})
