/**
 * Starts the collector, Jaeger and the service against them, and says where to look: `npm run observe`. Collector and Jaeger are the
 * containers of compose.yaml where Docker's engine answers, and else the binaries of `scripts/install-observability.sh`, which are built
 * if need be. Ctrl-C ends all of it, the service first, so that its last spans arrive.
 *
 * The service's variables hold as for `npm start`, and those that otel-collector.yaml, jaeger.yaml and compose.yaml read, ports
 * included. Unless told otherwise, the collector also writes what it gets to ./data/traces.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { startCollector } from './observability/collector.ts'
import { startJaeger } from './observability/jaeger.ts'
import { composeAnswers, findPrograms, root } from './observability/programs.ts'
import { startProgram, type RunningProgram } from './observability/running-program.ts'

const defaults = {
  COLLECTOR_GRPC_PORT: '4317',
  COLLECTOR_HTTP_PORT: '4318',
  COLLECTOR_HEALTH_PORT: '13133',
  JAEGER_GRPC_PORT: '14317',
  JAEGER_QUERY_PORT: '16686',
  JAEGER_QUERY_GRPC_PORT: '16685',
  TRACE_EXPORTERS: '[otlp_grpc, file]',
  HOST: '127.0.0.1',
  PORT: '3000'
}
try {
  process.loadEnvFile(`${root}.env`)
} catch {
  // Like `npm start`, without such a file.
}
const given = Object.fromEntries(Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined))
const env = { ...defaults, ...given, TRACE_DIR: resolve(root, given['TRACE_DIR'] ?? 'data/traces') }
const jaegerUrl = `http://localhost:${env.JAEGER_QUERY_PORT}`
const endpoint = `http://127.0.0.1:${env.COLLECTOR_HTTP_PORT}`

/** What is running, in the order in which it was started, as what ends it. */
const stops: (() => Promise<void> | void)[] = []
/** Aborted by Ctrl-C, and when something ends by itself. */
const end = new AbortController()

function keep (name: string, program: RunningProgram): void {
  stops.push(() => program.stop())
  void program.ended.then((outcome) => {
    if (!end.signal.aborted) end.abort(new Error(`${name} has ended (${outcome})\n${program.lines.slice(-10).join('\n')}`))
  })
}

/** Resolves with whether Jaeger has its web page: of that there is only a placeholder in the source that it is built from. */
async function startReceivers (): Promise<boolean> {
  mkdirSync(env.TRACE_DIR, { recursive: true })
  if (composeAnswers()) {
    const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`
    const compose = (...args: string[]): void => {
      execFileSync('docker', ['compose', ...args], { cwd: root, env: { ...env, COLLECTOR_USER: user }, stdio: 'inherit' })
    }
    stops.push(() => { compose('down') })
    compose('up', '--detach', '--wait')
    return true
  }
  const source = findPrograms()
  if (source === undefined) {
    throw new Error('Collector and Jaeger need Docker with its compose plugin, or Go to build them: https://go.dev/doc/install')
  }
  const jaeger = await startJaeger({ source, env: pick(/^JAEGER_/) })
  keep('Jaeger', jaeger)
  keep('The collector', await startCollector({
    source, env: { JAEGER_ENDPOINT: jaeger.receiver, ...pick(/^(?:COLLECTOR|TRACE|METRIC|LOG)_|^USER_ID(?:S|_KEY)$|^JAEGER_ENDPOINT$/) }
  }))
  return source !== 'binaries'
}

function pick (names: RegExp): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => names.test(name)))
}

async function startService (): Promise<void> {
  const command = ['--import', './telemetry.ts', 'node_modules/fastify-cli/cli.js', 'start', '-c', 'fastify.config.ts', 'app.ts'] as const
  keep('The service', await startProgram({
    name: 'The service',
    command: [process.execPath, ...command],
    env: { OTEL_BSP_SCHEDULE_DELAY: '500', ...env, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint },
    readyUrl: `http://${env.HOST}:${env.PORT}/health/ready`,
    limitMs: 120_000,
    shown: true
  }))
}

function tellWhere (jaegerHasPage: boolean): void {
  const folder = relative(process.cwd(), env.TRACE_DIR) || '.'
  console.log(`
  The service   http://${env.HOST}:${env.PORT}   (npm run chat)
  Jaeger        ${jaegerHasPage ? `${jaegerUrl}/search?service=threadline` : 'as it was built here it has no web page; the verifier shows each hop'}
  its API       ${jaegerUrl}/api/traces?service=threadline&limit=20
  files         ${folder}

  Verify them   npm run verify -- ${folder}
                npm run verify -- --jaeger ${jaegerUrl} --verbose

  Ctrl-C ends all of it.
`)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // Whoever asks twice does not want to wait for the last spans.
    if (end.signal.aborted) process.exit(130)
    end.abort()
  })
}
const ended = new Promise<void>((resolve) => { end.signal.addEventListener('abort', () => { resolve() }) })

try {
  const jaegerHasPage = await startReceivers()
  if (!end.signal.aborted) await startService()
  if (!end.signal.aborted) tellWhere(jaegerHasPage)
  await ended
} catch (error) {
  end.abort(error)
}
for (const stop of stops.toReversed()) await stop()
const reason: unknown = end.signal.reason
if (!(reason instanceof DOMException)) {
  console.error(reason instanceof Error ? reason.message : reason)
  process.exitCode = 1
}
