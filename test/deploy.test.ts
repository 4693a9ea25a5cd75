import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t from 'tap'
import { startOtlpReceiver } from './support/otlp-receiver.ts'
import { startService } from './support/start-service.ts'

interface Panel { readonly id: number, readonly title: string, readonly targets?: readonly { readonly expr: string }[] }

const folder = new URL('../deploy/', import.meta.url)
const dashboard = JSON.parse(readFileSync(new URL('grafana/threadline.json', folder), 'utf8')) as { panels: Panel[] } // our own file
const alerts = readFileSync(new URL('prometheus/alerts.yaml', folder), 'utf8')
const expressions = [
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...[...alerts.matchAll(/^ +expr: (.+)$/gm)].map(([, expr]) => expr ?? '')
]
/** Nothing crosses where isolation holds, so this has no series until it does. */
const onlyWhenBroken = ['threadline_canary_crossed_total']
const hasPromtool = (process.env['PATH'] ?? '').split(':').some((path) => existsSync(`${path}/promtool`))
const metricsNamed = [...new Set(expressions.flatMap((expr) => expr.match(/\b(?:threadline|gen_ai|http)_[a-z_]+(?=[{[) ]|$)/g) ?? []))]
  .filter((name) => !/^gen_ai_(request|token)_|^http_route$/.test(name))

t.test('each metric of dashboard and alerts is served by the service', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const service = await startService(t, {
    DATA_DIR: 'memory', OTEL_METRICS_EXPORTER: 'prometheus', OTEL_EXPORTER_PROMETHEUS_PORT: '0', THREADLINE_CANARY: 'on', THREADLINE_CANARY_INTERVAL_MS: '1000',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json'
  })
  const socket = await service.connect('alice')
  await socket.ask({ type: 'user_message', payload: { content: 'What time is it?' } })
  await socket.until('agent_completed')
  const url = service.lines.map((line) => /"url":"([^"]+\/metrics)"/.exec(line)?.[1]).find((found) => found !== undefined) ?? ''

  let text = ''
  do text = await (await fetch(url)).text()
  while (!text.includes('threadline_canary_last_success') || !text.includes('threadline_run_ended_total'))
  const served = new Set([...text.matchAll(/^([a-z_]+)[{ ]/gm)].map(([, name]) => name))

  // kill: rename a metric in lib/context/metric-definitions.ts
  t.ok(metricsNamed.length > 25)
  for (const name of metricsNamed) if (!onlyWhenBroken.includes(name)) t.ok(served.has(name), name)
  t.notMatch(text, /alice/, 'no id')
  t.match(url, /^http:\/\/127\.0\.0\.1:/, 'on loopback')
  await service.kill('SIGTERM')
  t.notOk(receiver.requests.some(({ body }) => body.includes('"/metrics"')), 'a scrape makes no trace')
})

t.test('panels have ids of their own, and each alert says what to do', async (t) => {
  t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
  for (const field of ['summary', 'description', 'action', 'expr']) {
    t.equal([...alerts.matchAll(new RegExp(`^ +${field}: `, 'gm'))].length, [...alerts.matchAll(/- alert: /g)].length, field)
  }
})

t.test('promtool accepts the rules, and they fire when they should', { skip: !hasPromtool && 'promtool is not installed (Debian package prometheus)' }, async (t) => {
  const run = promisify(execFile)
  const cwd = new URL('prometheus/', folder)

  await t.resolves(run('promtool', ['check', 'rules', 'alerts.yaml'], { cwd }))
  await t.resolves(run('promtool', ['test', 'rules', 'alerts.test.yaml'], { cwd }))
})
