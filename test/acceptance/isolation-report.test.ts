import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { RunIsolation } from '../../lib/protocol/run-isolation.ts'
import { startService, type TestService } from '../support/start-service.ts'

// The report of a run by the service as `npm start` runs it, which exports nothing and samples nothing.

async function temporaryFolder (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  return folder
}

/** A report, once it is not about spans that are still open. */
async function reportOf (service: TestService, user: string, runId: string): Promise<RunIsolation> {
  const headers = { authorization: `Bearer ${await service.token(user)}` }
  for (;;) {
    const response = await fetch(`${service.url}/v1/runs/${runId}/isolation`, { headers })
    if (response.status !== 200) throw new Error(`No report: ${response.status}`)
    const report = await response.json() as RunIsolation // the contract is checked in test/routes/run-isolation.test.ts
    if (report.spans.every((span) => span.ended_at !== null)) return report
  }
}

async function talk (service: TestService, user: string): Promise<string> {
  const socket = await service.connect(user)
  await socket.ask({ type: 'user_message', payload: { content: 'hello' } })
  const { run_id: runId = '' } = await socket.until('agent_completed')
  await socket.close()
  return runId
}

// kill: `createdAt < since` in lib/telemetry/isolation-report.ts.
t.test('a run of which no span was sampled is clean, and after a restart nobody says so any more', async (t) => {
  const env = { DATA_DIR: await temporaryFolder(t), TITLE_MODEL: 'off' }

  const before = await startService(t, env)
  const runId = await talk(before, 'alice')
  const clean = await reportOf(before, 'alice', runId)
  await before.kill('SIGTERM')
  const after = await startService(t, env)
  const restarted = await reportOf(after, 'alice', runId)

  t.match(clean, { verdict: 'clean', findings: [], incomplete: [], deliveries: [{ user_id: 'alice' }] })
  t.ok(clean.hops.length > 7)
  t.match(restarted, { verdict: 'incomplete', findings: [], incomplete: [/process was started after/], spans: [], deliveries: [] })
  t.match(restarted.database, { user_id: 'alice', row_security: 'forced' })
})

t.test('without telemetry, or its check, the report says that nothing was seen', async (t) => {
  for (const off of [{ OTEL_SDK_DISABLED: 'true' }, { THREADLINE_TRACE_CHECK: 'off' }]) {
    const service = await startService(t, { DATA_DIR: 'memory', TITLE_MODEL: 'off', ...off })

    const report = await reportOf(service, 'alice', await talk(service, 'alice'))

    t.match(report, { verdict: 'incomplete', findings: [], incomplete: [/No span was seen/], deliveries: [{ user_id: 'alice' }] })
    await service.kill('SIGTERM')
  }
})
