import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { hops } from '../../lib/context/hop.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { startCollector } from '../../scripts/observability/collector.ts'
import { startJaeger } from '../../scripts/observability/jaeger.ts'
import { commandOf, findPrograms, root } from '../../scripts/observability/programs.ts'
import { scenarios, tracedAgents, type ScenarioName, type Told } from '../../scripts/observability/scenarios.ts'
import { createJaegerQuery, type JaegerApi } from '../../verify/sources/jaeger-query.ts'
import { readSpanPath } from '../../verify/sources/span-directory.ts'
import type { Span } from '../../verify/span.ts'
import { verify } from '../../verify/verify.ts'
import { runProgram } from '../support/run-program.ts'
import { startService } from '../support/start-service.ts'
import { within } from '../support/within.ts'

// The service, a real collector with the configuration that is shipped, and a real Jaeger: each a process of its own.

const demanding = {
  problem: (sentence: string) => { throw new Error(sentence) },
  note: () => {}
}
// Where they have to be built, that takes minutes.
t.setTimeout(1_800_000)
const programs = findPrograms()
if (programs === undefined) t.plan(0, "Neither Docker's engine nor Go is here, of which one is needed for a real collector and a real Jaeger")
else await testWith(programs)

async function testWith (source: NonNullable<typeof programs>): Promise<void> {
  t.setTimeout(300_000)
  const secret = `secret-${crypto.randomUUID()}`
  const played: readonly ScenarioName[] = ['tools-over-sockets', 'http-stream', 'tabs-and-resume', 'stop', 'failing-agent', 'failing-tool']

  const folder = await temporaryFolder(t)
  const jaeger = await startJaeger({ source })
  t.teardown(() => jaeger.stop())
  const since = Date.now()
  const told = await recordTo(folder)
  const recorded = await spansIn(join(folder, 'traces.jsonl'))
  await untilJaegerHas(recorded.length)

  /** Lets users do all of it at the same time; returns when every span has left the collector. */
  async function recordTo (traceFolder: string): Promise<readonly Told[]> {
    const collector = await startCollector({
      source, env: { JAEGER_ENDPOINT: jaeger.receiver, TRACE_DIR: traceFolder, TRACE_EXPORTERS: '[otlp_grpc, file, file/proto]' }
    })
    t.teardown(() => collector.stop())
    const service = await startService(t, {
      DATA_DIR: 'memory',
      AGENTS_DIR: tracedAgents,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
      OTEL_RESOURCE_ATTRIBUTES: `process.command_args=${secret},process.command_line=${secret}`
    })
    const users = await Promise.all(played.map((name) => scenarios[name](service)))
    const code = await service.kill('SIGTERM')
    if (code !== 0) throw new Error(`The service ended with ${code}`)
    await collector.stop()
    return users.flat()
  }

  async function untilJaegerHas (count: number): Promise<void> {
    const all = async (): Promise<void> => {
      while ((await spansFromJaeger('v1')).length < count) await delay(100)
    }
    await within(`${count} spans in Jaeger`, all(), 60_000)
  }

  async function spansFromJaeger (api: JaegerApi): Promise<readonly Span[]> {
    const query = createJaegerQuery({ url: jaeger.url, api, timeoutMs: 30_000, notices: demanding })
    const { spans } = await query.find({ service: 'threadline', startMs: since, endMs: Date.now() + 1000, attributes: {}, limit: 1000 })
    return spans
  }

  for (const api of ['v1', 'v3'] as const) {
    t.test(`what users did is clean as Jaeger's API ${api} tells it, and nothing of it got lost on the way`, async (t) => {
      const spans = await spansFromJaeger(api)

      const report = verify(spans, { lateMs: 0 })

      t.same(idsOf(spans), idsOf(recorded))
      t.match(report, { verdict: 'clean', findings: [], incomplete: [] })
      t.ok(report.traces.checked > played.length)
    })
  }

  t.test('a message is one trace, with its identity at each hop', async (t) => {
    const spans = await spansFromJaeger('v3')
    const runs = told.flatMap(({ user, events }) => events.filter(({ type }) => type === 'agent_completed').map((event) => ({ user, event })))

    t.ok(runs.length >= 8)
    for (const { user, event } of runs) {
      const trace = spans.filter(({ traceId }) => traceId === traceIdOf(event))
      const ofRun = trace.filter((span) => span.attributes[attributes.runId] === event.run_id)
      t.equal(trace.filter(({ parentSpanId }) => parentSpanId === undefined).length, 1)
      const hopsOfRun = spans.filter((span) => span.attributes[attributes.runId] === event.run_id && isRunHop(span))
      t.same(new Set(hopsOfRun.map(({ traceId }) => traceId)), new Set([traceIdOf(event)]))
      t.same(new Set(trace.map((span) => span.attributes[attributes.userId] ?? user)), new Set([user]))
      t.ok(ofRun.every((span) => span.attributes[attributes.threadId] === event.thread_id))
    }
    const [researched] = runs.filter(({ user }) => user === 'tools-ann')
    const trace = spans.filter(({ traceId }) => researched !== undefined && traceId === traceIdOf(researched.event))
    t.same(hops.filter((hop) => !trace.some((span) => span.attributes[attributes.hop] === hop)), [], 'every hop is there')
  })

  t.test('no user is in the traces of another', async (t) => {
    const users = new Set(told.map(({ user }) => user))
    const traces = Map.groupBy(await spansFromJaeger('v1'), ({ traceId }) => traceId)

    t.ok(users.size >= 7)
    for (const trace of traces.values()) {
      const text = JSON.stringify(trace)
      t.ok([...users].filter((user) => text.includes(`"${user}"`)).length <= 1)
    }
  })

  t.test('the command line of a process reaches neither Jaeger nor a file', async (t) => {
    // kill: take the deletion of `process.command_args` out of otel-collector.yaml
    const answer = await fetch(`${jaeger.url}/api/traces?service=threadline&limit=1000`)
    const files = ['traces.jsonl', 'traces.binpb'].map(async (file) => await readFile(join(folder, file), 'latin1'))
    const texts = [await answer.text(), ...await Promise.all(files)]

    t.ok(texts.every((text) => text.includes('tools-ann')))
    t.same(texts.filter((text) => text.includes(secret) || text.includes('process.command')), [])
  })

  t.test('what the collector writes to files is clean, as JSON, as protobuf, and as a directory of both', async (t) => {
    for (const path of [join(folder, 'traces.jsonl'), join(folder, 'traces.binpb'), folder]) {
      const spans = await spansIn(path)

      t.same(new Set(idsOf(spans)), new Set(idsOf(recorded)))
      t.match(verify(spans, { lateMs: 0 }), { verdict: 'clean', findings: [], incomplete: [] })
    }
  })

  t.test('threadline verify says so, of Jaeger and of the files', async (t) => {
    for (const named of [['--jaeger', jaeger.url], ['--jaeger', jaeger.url, '--api', 'v1'], [folder]]) {
      const { exitCode, output, errors } = await runProgram(['bin/threadline.ts', 'verify', ...named, '--late', '0s'])

      t.equal(exitCode, 0, `${output}${errors}`)
    }
  })

  t.test('with a share of 0 % the traces with an error are kept whole, and those with a violation, and no other', async (t) => {
    // kill: take the policy `errors`, or `violations`, out of otel-collector.yaml
    const failed = new Set(recorded.filter((span) => span.failed).map(({ traceId }) => traceId))
    const [violated] = recorded.filter(({ traceId, name }) => !failed.has(traceId) && name === 'socket.receive').map(({ traceId }) => traceId)
    const wanted = recorded.filter(({ traceId }) => failed.has(traceId) || traceId === violated)

    const kept = await sendAgain(t, { TRACE_SAMPLE_PERCENT: '0' }, (span) => {
      if (span.traceId === violated && span.name === 'socket.receive') span.attributes.push({ key: attributes.violation, value: { stringValue: 'crossed' } })
    })

    t.ok(failed.size >= 2)
    t.same(idsOf(kept.spans), idsOf(wanted))
  })

  t.test('hashed user ids are gone, and the traces can be verified as before', async (t) => {
    // kill: take `redaction/user_ids_…` out of the pipeline of otel-collector.yaml
    const { text, spans } = await sendAgain(t, { USER_IDS: 'hash', USER_ID_KEY: 'x'.repeat(32) })

    t.same(told.filter(({ user }) => text.includes(`"${user}"`)), [])
    const ids = new Set(spans.flatMap((span) => span.attributes[attributes.userId] ?? []))
    t.equal(ids.size, new Set(told.map(({ user }) => user)).size)
    t.ok([...ids].every((id) => /^[0-9a-f]{64}$/.test(String(id))))
    t.same(idsOf(spans), idsOf(recorded))
    t.match(verify(spans, { lateMs: 0 }), { verdict: 'clean', findings: [], incomplete: [] })
  })

  t.test('removed user ids are gone, and the verifier does not call such traces clean', async (t) => {
    // kill: take `attributes/user_ids_remove` out of the pipeline of otel-collector.yaml
    const { text, spans } = await sendAgain(t, { USER_IDS: 'remove' })

    t.same(told.filter(({ user }) => text.includes(`"${user}"`)), [])
    t.same(idsOf(spans), idsOf(recorded))
    t.same(new Set(verify(spans, { lateMs: 0 }).findings.map(({ rule }) => rule)), new Set(['CTX002', 'CTX007']))
  })

  for (const mode of ['keep', 'hash', 'remove']) {
    t.test(`the collector itself finds its configuration right with USER_IDS=${mode}`, async (t) => {
      t.match(validate({ USER_IDS: mode, TRACE_EXPORTERS: '[otlp_grpc, file, file/proto]' }), { status: 0 })
    })
  }

  t.test('the collector refuses a mode that there is not, and a key that is too short', async (t) => {
    t.match(validate({ USER_IDS: 'hide' }), { status: 1, stderr: /user_ids_hide/ })
    t.match(validate({ USER_IDS: 'hash', USER_ID_KEY: 'short' }), { status: 1, stderr: /at least 32 bytes/ })
  })

  t.test('the collector of the containers is of the version that is built', async (t) => {
    const compose = await readFile(join(root, 'compose.yaml'), 'utf8')
    const manifest = await readFile(join(root, 'scripts/otel-collector-builder.yaml'), 'utf8')

    const version = /^ {2}version: (\S+)$/m.exec(manifest)?.[1]
    t.ok(version)
    t.match(compose, `otel/opentelemetry-collector-contrib:${version}\n`)
  })

  function validate (env: Readonly<Record<string, string>>) {
    const [file, ...args] = commandOf('otelcol', source, { config: 'otel-collector.yaml', env, validate: true })
    return spawnSync(file, args, { env: { PATH: process.env['PATH'], ...env }, encoding: 'utf8' })
  }

  /** What another collector makes of the same spans, which may be changed before. */
  async function sendAgain (t: Test, env: Readonly<Record<string, string>>, change: (span: OtlpSpan) => void = () => {}) {
    const again = await temporaryFolder(t)
    const collector = await startCollector({ source, env: { TRACE_DIR: again, TRACE_EXPORTERS: '[file]', ...env } })
    t.teardown(() => collector.stop())
    const lines = (await readFile(join(folder, 'traces.jsonl'), 'utf8')).trim().split('\n')
    for (const line of lines) {
      const request = JSON.parse(line) as OtlpRequest // what the collector has written
      for (const span of request.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))) change(span)
      const answer = await fetch(`${collector.endpoint}/v1/traces`, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request)
      })
      t.equal(answer.status, 200)
    }
    await collector.stop()
    const file = join(again, 'traces.jsonl')
    return { text: await readFile(file, 'utf8'), spans: await spansIn(file) }
  }
}

interface OtlpSpan { readonly traceId: string, readonly name: string, readonly attributes: { key: string, value: { stringValue: string } }[] }
interface OtlpRequest { readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[] }[] }

async function temporaryFolder (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  return folder
}

async function spansIn (path: string): Promise<readonly Span[]> {
  const spans: Span[] = []
  for await (const piece of readSpanPath(path, demanding)) spans.push(...piece)
  return spans
}

function idsOf (spans: readonly Span[]): readonly string[] {
  return spans.map(({ traceId, spanId }) => `${traceId} ${spanId}`).toSorted()
}

function traceIdOf ({ traceparent }: ServerEvent): string {
  return traceparent?.split('-')[1] ?? ''
}

/** Asking for a run is a message of its own. */
function isRunHop (span: Span): boolean {
  const hop = span.attributes[attributes.hop]
  return hop === 'registry' || hop === 'engine' || hop === 'tool' || hop === 'emitter'
}
