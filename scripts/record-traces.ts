/**
 * Makes `test/fixtures/traces/` anew: runs the service against a real collector and a real Jaeger, and keeps what the collector wrote, as JSON
 * and as protobuf, and what both APIs of Jaeger answered. `clean/` is the service as it is; `killed/` the same, killed in the middle of a
 * run; `seeded/` has for each rule of the verifier a service that runs without one of its lines, and `expected.json` says where
 * that has to be found. `npm run record:traces`, or with names of recordings to make only those.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { killEnvironment } from '../testing/kill-order.ts'
import { startService, type TestService } from '../test/support/start-service.ts'
import { within } from '../test/support/within.ts'
import { startCollector } from './observability/collector.ts'
import { startJaeger } from './observability/jaeger.ts'
import { findPrograms, root } from './observability/programs.ts'
import { begin, scenarioNames, scenarios, tracedAgents } from './observability/scenarios.ts'
import { seeds } from './observability/seeds.ts'

type Start = (env?: Readonly<Record<string, string>>) => Promise<TestService>
type Play = (start: Start, folder: string) => Promise<void>

const target = join(root, 'test/fixtures/traces')
const programs = findPrograms()
if (programs === undefined) throw new Error("Neither Docker's engine nor Go is here")

/** What a process says of itself, instead of this machine's names; and stacks name files by their paths. */
const anonymous = {
  OTEL_RESOURCE_ATTRIBUTES: 'host.name=host,host.arch=arch,process.pid=1,service.instance.id=instance,os.version=0',
  NODE_OPTIONS: '--stack-trace-limit=0'
}

async function record (name: string, play: Play, source: NonNullable<typeof programs>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-traces-'))
  const ends: (() => Promise<void>)[] = [async () => { await rm(folder, { recursive: true, force: true }) }]
  try {
    const jaeger = await startJaeger({ source })
    ends.push(() => jaeger.stop())
    const collector = await startCollector({
      source, env: { JAEGER_ENDPOINT: jaeger.receiver, TRACE_DIR: folder, TRACE_EXPORTERS: '[otlp_grpc, file, file/proto]', COLLECTOR_BATCH_TIMEOUT: '200ms' }
    })
    ends.push(() => collector.stop())
    const startedAt = Date.now()
    await play(async (env = {}) => await startService({ teardown: (fn) => { ends.push(fn) } }, {
      DATA_DIR: 'memory', AGENTS_DIR: tracedAgents, OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, OTEL_BSP_SCHEDULE_DELAY: '100', ...anonymous, ...env
    }), folder)
    await collector.stop()

    const json = await readFile(join(folder, 'traces.jsonl'))
    const [start, end] = [startedAt - 1000, Date.now() + 1000]
    const first = `/api/traces?service=threadline&raw=true&limit=1000&start=${start * 1000}&end=${end * 1000}`
    const third = `/api/v3/traces?query.service_name=threadline&query.raw_traces=true&query.num_traces=1000&query.start_time_min=${new Date(start).toISOString()}&query.start_time_max=${new Date(end).toISOString()}`
    await within('all spans to be in Jaeger', untilStable(`${jaeger.url}${first}`))
    await keep(name, {
      'traces.jsonl': json,
      'traces.binpb': await readFile(join(folder, 'traces.binpb')),
      'jaeger-v1.json': await answerOf(`${jaeger.url}${first}`),
      'jaeger-v3.json': await answerOf(`${jaeger.url}${third}`)
    })
  } finally {
    for (const end of ends.toReversed()) await end()
  }
}

/** Jaeger has everything once the same question is answered the same. */
async function untilStable (url: string): Promise<void> {
  for (let before = -1, now = 0; now === 0 || now !== before;) {
    before = now
    await delay(500)
    now = (await answerOf(url)).length
    if (now < 100) now = 0
  }
}

async function answerOf (url: string): Promise<Buffer> {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(await answer.text())
  return Buffer.from(await answer.arrayBuffer())
}

/** What nobody has to read is compressed. */
async function keep (name: string, files: Readonly<Record<string, Buffer>>): Promise<void> {
  const folder = join(target, name)
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  for (const [file, content] of Object.entries(files)) {
    const text = content.toString('latin1')
    const told = [hostname(), root, tmpdir()].find((word) => word.length > 2 ? text.includes(word) : new RegExp(`"${word}"`).test(text))
    if (told !== undefined) throw new Error(`${name}/${file} tells ${told}`)
    if (name === 'clean' && file === 'traces.jsonl') await writeFile(join(folder, file), content)
    else await writeFile(join(folder, `${file}.gz`), gzipSync(content, { level: 9 }))
  }
  console.log(`${name}: ${Object.entries(files).map(([file, content]) => `${file} ${content.length}`).join(', ')}`)
}

const recordings: Record<string, Play> = {
  clean: async (start) => {
    const service = await start()
    for (const name of scenarioNames) await scenarios[name](service)
    await service.kill('SIGTERM')
  },
  killed: async (start, folder) => {
    const storage = { DATA_DIR: join(folder, 'data') }
    const service = await start(storage)
    const socket = await service.connect('killed-ann')
    const { thread_id: thread, run_id: runId } = await begin(socket, '/tool research {"topic":"bees","seconds":60}')
    await within('the first spans', untilWritten(join(folder, 'traces.jsonl'), 'tool_executing'))
    await service.kill('SIGKILL')
    const again = await start(storage)
    const back = await again.connect('killed-ann', { thread: String(thread) })
    await back.ask({ type: 'get_run', payload: { run_id: runId } })
    await back.chat('still there?', { agent: 'echo' })
    await back.close()
    await again.kill('SIGTERM')
  },
  ...Object.fromEntries(seeds.map((seed) => [`seeded/${seed.rule.toLowerCase()}`, async (start: Start, folder: string) => {
    const notes = join(folder, 'notes')
    await writeFile(notes, '')
    const service = await start(killEnvironment({ kill: seed.kill, notes }, anonymous))
    await within(`what users do for ${seed.rule}`, seed.play(service), 60_000)
    await service.kill('SIGTERM')
    if (!(await readFile(notes, 'utf8')).startsWith('applied')) throw new Error(`${seed.rule}: the kill did not hit`)
  }]))
}

async function untilWritten (file: string, text: string): Promise<void> {
  while (!(await readFile(file, 'utf8').catch(() => '')).includes(text)) await delay(50)
}

// The sockets of tests compare each event with its schema, and bring tap with them, which has a time limit.
t.setTimeout(0)

/** What the verifier has to say of recordings that are not clean, and where. */
const expectations: Readonly<Record<string, object>> = {
  killed: { without: 'what was open when the process was killed', rule: 'CTX006', hop: 'emitter' },
  ...Object.fromEntries(seeds.map(({ rule, hop, also, kill: { what: without, file } }) => [`seeded/${rule.toLowerCase()}`, { without, file, rule, hop, also }]))
}

const wanted = process.argv.slice(2)
for (const [name, play] of Object.entries(recordings)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  await record(name, play, programs)
  const expected = expectations[name]
  if (expected !== undefined) await writeFile(join(target, name, 'expected.json'), `${JSON.stringify(expected, undefined, 2)}\n`)
}
