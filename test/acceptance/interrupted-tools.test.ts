import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { toThreadId } from '../../lib/protocol/ids.ts'
import { checkRunEvents } from '../../lib/protocol/run-rules.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { startService } from '../support/start-service.ts'
import { readThread } from '../support/stored-thread.ts'

t.test('F81 a tool that was at work when the service was killed is called again, and told once, before the end of its run', async (t) => {
  // kill: no `openTools` in `executeRun` of lib/engine/execute-run.ts
  const folder = await mkdtemp(join(tmpdir(), 'threadline-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  const before = await startService(t, { DATA_DIR: folder })
  const socket = await before.connect('alice')
  const accepted = await socket.ask({
    type: 'user_message', payload: { content: '/tool current_time {} then /tool research {"topic": "otters", "seconds": 3}' }
  })
  const executing = await socket.until('tool_executing', ({ payload }) => payload.tool === 'research')
  await before.kill('SIGKILL')

  const after = await startService(t, { DATA_DIR: folder })
  const again = await after.connect('alice', { thread: accepted.thread_id ?? '' })
  const next = await again.chat('go on', { agent: 'echo' })
  await after.kill('SIGTERM')
  const storage = await createStorage({ dataFolder: folder })
  t.teardown(() => storage.close())
  const { events, runs } = await readThread(storage, 'alice', toThreadId(accepted.thread_id))

  const told = events.filter((event) => event.run_id === accepted.run_id)
  const [completed, ended] = [told.findLast(({ type }) => type === 'tool_completed'), told.at(-1)]
  t.same(checkRunEvents(told, { usesTools: true }), [])
  t.match(completed, { type: 'tool_completed', payload: { tool_call_id: executing.payload.tool_call_id, tool: 'research', success: true } })
  t.match(ended, { type: 'agent_completed', payload: { status: 'completed' } })
  t.same(countOf(told, 'tool_executing'), countOf(told, 'tool_completed'), 'the tool that had completed is not told again')
  t.same(events.map(({ sequence }) => sequence), events.map((_event, index) => index + 1))
  t.match(runs.map(({ status }) => status), ['completed', 'completed'])
  t.equal(countOf(told, 'agent_resumed'), 1)
  t.match(next.payload, { status: 'completed' })
})

function countOf (events: readonly ServerEvent[], type: ServerEvent['type']): number {
  return events.filter((event) => event.type === type).length
}
