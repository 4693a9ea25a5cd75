import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { toThreadId } from '../../lib/protocol/ids.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { startService, type TestService } from '../support/start-service.ts'
import { readThread } from '../support/stored-thread.ts'
import { createThrowawayDatabase } from '../support/throwaway-database.ts'
import { within } from '../support/within.ts'

// A killed process writes nothing any more. One that was frozen, by its host or by a debugger, does when it thaws.
const needsServer = { skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL: two services share no folder' }

async function said (service: TestService, text: string): Promise<void> {
  const wait = async (): Promise<void> => { while (!service.lines.some((line) => line.includes(text))) await turn() }
  await within(`the service to say: ${text}`, wait(), 60_000)
}

// kill: `if run.thread_id = part.thread_id then` in `append_events` of lib/storage/migrations/0007-message-tree-end.ts
t.test('a service that thaws after another one has taken over adds nothing to a run that has ended meanwhile', needsServer, async (t) => {
  const database = await createThrowawayDatabase()
  if (database === undefined) return
  t.teardown(() => database.drop())
  const env = { DATABASE_URL: database.url, TITLE_MODEL: 'off', LEASE_MS: '1500' }
  const frozen = await startService(t, env)
  const before = await frozen.connect('alice')
  const running = await before.ask({ type: 'user_message', payload: { content: '/tool research {"topic": "otters", "seconds": 3}' } })
  await before.until('tool_executing')
  frozen.freeze()

  const heir = await startService(t, env)
  const after = await heir.connect('alice', { thread: running.thread_id ?? '' })
  const next = await after.chat('while it was frozen')
  frozen.thaw()
  await said(frozen, 'a run was ended by somebody else')
  const last = await after.chat('when it had thawed')
  await Promise.all([frozen.kill('SIGTERM'), heir.kill('SIGTERM')])

  const storage = await createStorage({ databaseUrl: database.url })
  t.teardown(() => storage.close())
  const { runs, events } = await readThread(storage, 'alice', toThreadId(running.thread_id))
  const told = (runId: string | undefined) => events.filter((event) => event.run_id === runId)
  t.same(runs.map(({ runId, status }) => [runId, status]), [[last.run_id, 'completed'], [next.run_id, 'completed'], [running.run_id, 'completed']])
  t.match(told(running.run_id).at(-1), { type: 'agent_completed', payload: { status: 'completed' } }, 'nothing follows its end')
  for (const { runId } of runs) t.equal(told(runId).filter(({ type }) => type === 'agent_completed').length, 1, 'it has one end')
  t.same(events.map(({ sequence }) => sequence), events.map((_, index) => index + 1))
})
