import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createInterface } from 'node:readline'
import t from 'tap'
import { findFreePorts } from '../../scripts/observability/free-ports.ts'
import { findPrograms, root } from '../../scripts/observability/programs.ts'
import { readSpanPath } from '../../verify/sources/span-directory.ts'
import { within } from '../support/within.ts'

// Where they have to be built, that takes minutes.
t.setTimeout(1_800_000)
const programs = findPrograms()
const skip = programs === undefined && "Neither Docker's engine nor Go is here, of which one is needed for a real collector and a real Jaeger"

t.test('npm run observe shows what the service does, and Ctrl-C leaves nothing running', { skip }, async (t) => {
  // kill: end the collector before the service in scripts/observe.ts
  const folder = await mkdtemp(join(tmpdir(), 'threadline-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  const names = ['COLLECTOR_GRPC_PORT', 'COLLECTOR_HTTP_PORT', 'COLLECTOR_HEALTH_PORT', 'JAEGER_GRPC_PORT', 'JAEGER_QUERY_PORT', 'JAEGER_QUERY_GRPC_PORT', 'PORT']
  const ports = await findFreePorts(names.length)
  const settings = Object.fromEntries(names.map((name, index) => [name, String(ports[index])]))
  const inherited = Object.entries(process.env).filter(([name]) => !/^(OTEL|NODE|TAP|AUTH|DATABASE|TRACE|USER_ID)/.test(name))
  const observing = spawn(process.execPath, ['scripts/observe.ts'], {
    cwd: root,
    // Only at the end are spans sent.
    env: { ...Object.fromEntries(inherited), ...settings, DATA_DIR: 'memory', TRACE_DIR: folder, OTEL_BSP_SCHEDULE_DELAY: '600000' },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const ended = new Promise((resolve) => { observing.once('close', (code, signal) => { resolve(code ?? signal) }) })
  const errors = text(observing.stderr)
  t.teardown(async () => {
    // A second one ends everything at once.
    observing.kill('SIGINT')
    await ended
  })
  await within('the service to be observed', new Promise<void>((resolve, reject) => {
    createInterface({ input: observing.stdout }).on('line', (line) => { if (line.includes('Ctrl-C')) resolve() })
    void ended.then(async () => { reject(new Error(await errors)) })
  }), 120_000)

  const service = `http://127.0.0.1:${settings['PORT']}`
  const answer = await fetch(`${service}/v1/dev/tokens`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user_id: 'ann' })
  })
  const jaeger = await fetch(`http://127.0.0.1:${settings['JAEGER_QUERY_PORT']}/api/services`)
  observing.kill('SIGINT')

  t.equal(answer.status, 201)
  t.equal(jaeger.status, 200)
  t.equal(await ended, 0, await errors)
  const told: string[] = []
  const notices = { problem: (sentence: string) => { t.fail(sentence) }, note: () => {} }
  for await (const spans of readSpanPath(folder, notices)) told.push(...spans.map(({ name }) => name))
  t.ok(told.includes('POST /v1/dev/tokens'), 'its last spans have arrived')
  t.same(await Promise.all(ports.map(isOpen)), ports.map(() => false))
})

async function isOpen (port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => { resolve(false) })
  })
}
