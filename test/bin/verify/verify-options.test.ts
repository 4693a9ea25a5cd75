import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseVerifyArguments, type VerifyCommand } from '../../../bin/verify/verify-options.ts'
import { usage } from '../../../bin/verify/usage.ts'

const nowMs = Date.UTC(2026, 10, 22, 12)
const jaeger = ['--jaeger', 'http://localhost:16686']

function parse (args: readonly string[], environment: Readonly<Record<string, string>> = {}): VerifyCommand {
  const parsed = parseVerifyArguments(args, environment, nowMs)
  if (parsed.kind !== 'verify') throw new Error(JSON.stringify(parsed))
  return parsed.command
}

t.test('without more than a path, everything is as it is told', async (t) => {
  t.same(parse(['traces', '-']), {
    sources: [{ kind: 'path', path: 'traces' }, { kind: 'path', path: '-' }],
    profilePath: undefined,
    baggageHosts: [],
    lateMs: 10_000,
    openRunMs: 600_000,
    waitMs: 30_000,
    timeoutMs: 10_000,
    format: 'text',
    outputPath: undefined,
    maxFindings: 100,
    docsUrl: undefined,
    isVerbose: false
  })
})

t.test('Jaeger is asked for traces, or for a time', async (t) => {
  const window = { service: 'threadline', startMs: nowMs - 3_600_000, endMs: nowMs, limit: 200, user: undefined, thread: undefined }
  const source = { kind: 'jaeger', url: 'http://localhost:16686', api: 'v3', headers: {} }

  t.same(parse(jaeger).sources, [{ ...source, what: window }])
  t.same(parse([...jaeger, '--api', 'v1', '--trace', 'AB', '--trace', 'c'.repeat(32), '--header', 'Authorization: Basic YTpi']).sources, [
    { ...source, api: 'v1', headers: { authorization: 'Basic YTpi' }, what: { traceIds: [`${'0'.repeat(30)}ab`, 'c'.repeat(32)] } }
  ])
  t.same(parse([...jaeger, '--service', 'shop', '--start', '2026-11-22T10:00:00Z', '--end', '2026-11-22T11:00:00Z', '--user', 'alice', '--thread', 't', '--limit', '5']).sources, [
    { ...source, what: { service: 'shop', startMs: nowMs - 7_200_000, endMs: nowMs - 3_600_000, limit: 5, user: 'alice', thread: 't' } }
  ])
  t.match(parse([...jaeger, '--since', '1.5d', '--end', '2026-11-22T11:00:00Z']).sources, [{ what: { startMs: nowMs - 3_600_000 - 129_600_000 } }])
})

t.test('a service is asked for runs, or for a thread', async (t) => {
  const url = 'http://localhost:3000'

  t.same(parse(['--url', url, '--run', 'a', '--run', 'b']).sources, [{ kind: 'service', url, runs: ['a', 'b'], thread: undefined }])
  t.same(parse(['--url', url, '--thread', 't']).sources, [{ kind: 'service', url, runs: [], thread: 't' }])
})

t.test('hosts for baggage come from the environment and from options', async (t) => {
  t.same(parse(['x', '--baggage-host', 'a:1', '--baggage-host', 'b'], { BAGGAGE_HOSTS: ' c, d:2,' }).baggageHosts, ['c', 'd:2', 'a:1', 'b'])
})

t.test('arguments that would be misunderstood are refused, with what is wrong', async (t) => {
  const cases: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [[], /Say where the traces are/],
    [['--frobnicate'], /--frobnicate/],
    [['x', '--format', 'xml'], /--format takes text, json, sarif, junit, and not xml/],
    [['x', '--late', 'soon'], /--late takes a time like 30s/],
    [['x', '--wait', '5'], /--wait takes a time like 30s/],
    [['x', '--max-findings', '-1'], /--max-findings/],
    [['x', '--max-findings', '1.5'], /--max-findings takes a whole number/],
    [['x', '--docs-url', 'docs/rules'], /--docs-url takes an address/],
    [['x', '--trace', 'abc'], /--trace needs --jaeger/],
    [['x', '--since', '1h'], /--since needs --jaeger/],
    [['x', '--thread', 'a'], /--thread needs --jaeger <url> or --url <url>/],
    [['x', '--run', 'run_1'], /--run needs --url/],
    [['--url', 'http://localhost:3000'], /--url needs --run <id> or --thread <id>/],
    [['--jaeger', 'localhost:16686'], /--jaeger takes an address like/],
    [['--jaeger', 'http://me:hidden@localhost'], /^--jaeger takes no name and password in its address: they would be in every report$/],
    [[...jaeger, '--api', 'v2'], /--api takes v1 or v3/],
    [[...jaeger, '--trace', 'hello'], /32 hexadecimal digits/],
    [[...jaeger, '--trace', 'a', '--since', '1h'], /give one of them/],
    [[...jaeger, '--since', '1h', '--start', '2026-01-02'], /give one of them/],
    [[...jaeger, '--limit', '0'], /--limit takes a whole number from 1/],
    [[...jaeger, '--start', '2026-01-02', '--end', '2026-01-01'], /--end must be after --start/],
    [[...jaeger, '--start', 'yesterday'], /--start takes a time like/]
  ]
  for (const [args, message] of cases) t.match(parseVerifyArguments(args, {}, nowMs), { kind: 'invalid', message }, args.join(' '))
})

t.test('a header that is not understood is not shown: it may be a secret', async (t) => {
  t.same(parseVerifyArguments([...jaeger, '--header', 'secret token'], {}, nowMs), { kind: 'invalid', message: '--header takes "name: value"' })
})

t.test('help names every option', async (t) => {
  const source = readFileSync(new URL('../../../bin/verify/verify-options.ts', import.meta.url), 'utf8')
  const options = Array.from(source.matchAll(/^ {2}'?([\w-]+)'?: \{ type: '/gm), ([, name = '']) => name)

  t.ok(options.length > 20)
  t.same(options.filter((name) => !usage.includes(`--${name}`)), [])
})
