import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { makeTrace, spanNamed, withAttributes } from '../support/made-trace.ts'
import { recordedAnswer, startRecordedServer } from '../support/recorded-server.ts'
import { toOtlpJson } from '../support/span-files.ts'
import { startService } from '../support/start-service.ts'

const root = join(import.meta.dirname, '../..')
const recorded = join(root, 'test/fixtures/span-sources')

interface Running {
  readonly child: ReturnType<typeof spawn>
  readonly ended: Promise<{ readonly code: number | null, readonly stdout: string, readonly stderr: string }>
}

function start (args: readonly string[], { input, env = {} }: { input?: string, env?: Readonly<Record<string, string>> } = {}): Running {
  const child = spawn(process.execPath, [join(root, 'bin/threadline.ts'), ...args], { env: { PATH: process.env['PATH'], ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {})
  if (input !== undefined) child.stdin.end(input)
  const code = new Promise<number | null>((resolve) => { child.once('close', resolve) })
  const ended = Promise.all([code, text(child.stdout).catch(() => 'given up'), text(child.stderr)]).then(([code, stdout, stderr]) => ({ code, stdout, stderr }))
  return { child, ended }
}

const run = async (args: readonly string[], options?: Parameters<typeof start>[1]) => await start(['verify', ...args], options).ended

const clean = makeTrace({ seed: 'clean' })
const crossed = withAttributes(clean, spanNamed(clean, 'tool'), { 'user.id': 'mallory' })
const file = (spans: typeof clean): string => `${toOtlpJson(spans).toString()}\n`

// kill: in outcomeOf, say 0 wherever there are no findings.
t.test('the exit code tells: 0 clean, 1 findings, 2 could not check', async (t) => {
  const folder = t.testdir({
    'clean.json': file(clean),
    'crossed.json': file(crossed),
    'cut.json': file(makeTrace({ seed: 'other' })) + file(clean).slice(0, 100),
    'both.json': file(crossed) + file(clean).slice(0, 100),
    'fresh.json': file(makeTrace({ seed: 'fresh', startedAt: Date.now() * 1000 })),
    'endless.json': file(makeTrace({ seed: 'endless', startedAt: (Date.now() - 20_000) * 1000 }).filter(({ attributes }) => attributes['threadline.event.type'] !== 'agent_completed')),
    'none.json': '{"resourceSpans":[]}',
    'foreign.json': file(makeTrace({ seed: 'foreign' }).map((span) => ({ ...span, attributes: {} }))),
    directory: { 'a.json': file(makeTrace({ seed: 'a' })), 'b.json': file(makeTrace({ seed: 'b' })), 'README.md': '# Traces' }
  })
  const cases: readonly (readonly [args: readonly string[], code: number, output: RegExp])[] = [
    [['clean.json'], 0, /✓ 1 trace, 20 spans: identity was never lost and never crossed\n$/],
    [['directory'], 0, /Skipped .*README\.md: it is no trace file\n✓ 2 traces, 40 spans/],
    [['crossed.json'], 1, /▲ CTX004 user changed/],
    [['both.json'], 1, /▲ CTX004(?:.|\n)*line 2 is no complete JSON/],
    [['cut.json'], 2, /1 trace, 0 incomplete, 1 clean\n.*line 2 is no complete JSON/],
    [['fresh.json'], 2, /1 trace, 1 incomplete, 0 clean/],
    [['endless.json'], 2, /has told no agent_completed, yet/],
    [['endless.json', '--open-run', '1s'], 1, /CTX008/],
    [['none.json'], 2, /No trace was found/],
    [['nowhere.json'], 2, /nowhere\.json: it does not exist/],
    [['clean.json', 'nowhere.json'], 2, /nowhere\.json: it does not exist/],
    [['clean.json', 'none.json'], 2, /No trace was found in .*none\.json/],
    [['foreign.json'], 2, /No message was found: no span says in threadline\.hop that it is a hop of the profile/],
    [['clean.json', 'foreign.json'], 0, /2 traces/]
  ]
  await Promise.all(cases.map(async ([paths, code, output]) => {
    const result = await run(paths.map((path) => path.endsWith('.json') || path === 'directory' ? join(folder, path) : path))

    t.equal(result.code, code, paths.join(' '))
    t.match(result.stdout, output, paths.join(' '))
    t.equal(result.stderr, '')
    t.notMatch(result.stdout, /\u001b/, 'no colours where nobody looks')
  }))
})

t.test('arguments that are not understood are said, with exit code 2', async (t) => {
  const cases: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [['verify'], /Say where the traces are/],
    [['verify', '--frobnicate'], /--frobnicate/],
    [['verify', 'x', '--profile', 'nowhere.json'], /nowhere\.json: it does not exist/],
    [['verify', 'x', '--output', '/nowhere/x/y.json'], /could not be written/],
    [['frobnicate'], /There is no command "frobnicate"/]
  ]
  await Promise.all(cases.map(async ([args, message]) => {
    const { code, stdout, stderr } = await start(args).ended

    t.equal(code, 2, args.join(' '))
    t.match(stderr, message)
    t.notMatch(stderr, /at .*\.ts:|secret/, 'no stack, no secret')
    t.equal(stdout, '')
  }))
})

t.test('help is told on the standard output', async (t) => {
  const [{ code, stdout }, general] = await Promise.all([run(['--help']), start(['--help']).ended])

  t.same([code, general.code], [0, 0])
  t.match(stdout, /Exit code: 0 all is clean/)
  t.match(general.stdout, /threadline verify --help/)
})

t.test('the standard input is a source, and a report can be a file', async (t) => {
  const folder = t.testdir()
  const output = join(folder, 'report.json')

  const { code, stdout, stderr } = await run(['-', '--format', 'json', '--output', output], { input: file(crossed) })

  t.equal(code, 1)
  t.equal(stdout, '')
  t.equal(stderr, '1 trace: findings\n')
  t.match(JSON.parse(await readFile(output, 'utf8')), { version: 1, exitCode: 1, findings: [{ rule: 'CTX004' }] })
  t.same(await readdir(folder), ['report.json'], 'nothing else is left')
})

t.test('each format is written whole', async (t) => {
  const { stdout: sarif } = await run(['-', '--format', 'sarif'], { input: file(crossed) })
  const { stdout: junit } = await run(['-', '--format', 'junit'], { input: file(crossed) })

  t.match(JSON.parse(sarif), { version: '2.1.0', runs: [{ results: [{ ruleId: 'CTX004' }] }] })
  t.match(junit, /<failure type="CTX004"(?:.|\n)*<\/testsuites>\n$/)
})

t.test('another service is verified by its own names', async (t) => {
  const folder = t.testdir({
    'profile.json': JSON.stringify({ attributes: { user: 'enduser.id' } }),
    'odd.json': JSON.stringify({ attributes: { usr: 'enduser.id' } }),
    'traces.json': file(crossed.map((span) => ({ ...span, attributes: { ...span.attributes, 'enduser.id': 'alice' } })))
  })

  const ours = await run([join(folder, 'traces.json')])
  const theirs = await run([join(folder, 'traces.json'), '--profile', join(folder, 'profile.json')])
  const odd = await run([join(folder, 'traces.json'), '--profile', join(folder, 'odd.json')])

  t.same([ours.code, theirs.code, odd.code], [1, 0, 2])
  t.match(odd.stderr, /odd\.json.*usr/)
})

t.test('baggage may go where the options and BAGGAGE_HOSTS say', async (t) => {
  const spans = withAttributes(clean, spanNamed(clean, 'GET'), { 'threadline.baggage.sent': true })
  const input = file(spans)

  const [nowhere, option, variable] = await Promise.all([
    run(['-'], { input }), run(['-', '--baggage-host', 'search.example.com'], { input }), run(['-'], { input, env: { BAGGAGE_HOSTS: 'other, search.example.com:443' } })
  ])

  t.match(nowhere.stdout, /CTX009/)
  t.same([nowhere.code, option.code, variable.code], [1, 0, 0])
})

t.test('Jaeger is asked, by trace and by time', async (t) => {
  const { url, asked } = await startRecordedServer(t, ({ pathname }, response) => {
    recordedAnswer(response, readFileSync(join(recorded, `jaeger/${pathname.includes('/v3/') ? 'v3' : 'v1'}-${pathname.endsWith('/traces') ? 'find' : 'trace'}.json`)))
  })

  const results = await Promise.all([
    run(['--jaeger', url, '--since', '15m', '--header', 'x-tenant: a']),
    run(['--jaeger', url, '--api', 'v1', '--user', 'alice', '--start', '2026-11-22T00:00:00Z', '--end', '2026-11-23T00:00:00Z']),
    run(['--jaeger', `${url}/`, '--trace', '593b41443ec4d6b708e3f4de73da008b'])
  ])

  t.same(results.map(({ code, stdout }) => [code, stdout.split(':')[0]]), [[0, '✓ 6 traces, 34 spans'], [0, '✓ 6 traces, 34 spans'], [0, '✓ 1 trace, 14 spans']])
  t.equal(asked.length, 3)
  t.ok(asked.some(({ searchParams }) => searchParams.get('tags') === '{"user.id":"alice"}' && searchParams.get('start') === '1795305600000000'))
})

t.test('a service that runs is asked with the token of the environment', async (t) => {
  const service = await startService(t, { DATA_DIR: 'memory' })
  const socket = await service.connect('alice')
  socket.send({ type: 'user_message', payload: { content: 'hello' } })
  const { run_id: runId = '', thread_id: threadId } = await socket.until('agent_completed')
  const token = await service.token('alice')
  const args = ['--url', service.url, '--late', '100ms']

  const [one, all, refused] = await Promise.all([
    run([...args, '--run', runId], { env: { THREADLINE_TOKEN: token } }),
    run([...args, '--thread', threadId ?? ''], { env: { THREADLINE_TOKEN: token } }),
    run([...args, '--run', runId])
  ])

  t.same([one.code, all.code, refused.code], [0, 0, 2], one.stdout + all.stdout)
  t.match(one.stdout, /✓ 1 trace, \d+ spans/)
  t.match(refused.stdout, /401 was answered/)
})

t.test('an interruption ends it, leaves no file, and tells the signal', async (t) => {
  const folder = t.testdir()
  for (const [signal, expected] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
    const { child, ended } = start(['verify', '-', '--output', join(folder, 'report.txt')], { env: { TMPDIR: folder } })
    child.stdin?.write(file(clean))
    // It listens for signals before it makes the file.
    while (!(await readdir(folder)).some((name) => name.endsWith('.tmp'))) await immediate()
    child.kill(signal)

    const { code, stderr } = await ended

    t.equal(code, expected)
    t.equal(stderr, '')
    t.same(await readdir(folder), [])
  }
})

t.test('whoever reads only the beginning does no harm', async (t) => {
  const folder = t.testdir()
  const many = Array.from({ length: 300 }, (_item, index) => makeTrace({ seed: `${index}`, tools: 0 }))
  await writeFile(join(folder, 'traces.json'), many.map((trace) => file(withAttributes(trace, spanNamed(trace, 'engine'), { 'user.id': 'mallory' }))).join(''))
  const { child, ended } = start(['verify', join(folder, 'traces.json'), '--max-findings', '1000'])
  if (child.stdout === null) throw new Error('There is an output')
  await once(child.stdout, 'data')
  child.stdout.destroy()

  const { code, stdout, stderr } = await ended

  t.equal(stdout, 'given up')
  t.equal(code, 1, 'what was found still counts')
  t.equal(stderr, '')
})
