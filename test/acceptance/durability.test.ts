import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { enterThread } from '../../lib/context/current-thread.ts'
import { createIdentity } from '../../lib/context/identity.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { toRunId, toThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import { startService } from '../support/start-service.ts'
import { readEvents } from '../support/stored-thread.ts'

const folder = await mkdtemp(join(tmpdir(), 'threadline-'))
t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
const env = { DATA_DIR: folder }

t.test('a killed service loses neither an accepted message nor its run', async (t) => {
  // kill: let `accept` of lib/storage/run-store.ts resolve before its transaction has been committed
  const before = await startService(t, env)
  const socket = await before.connect('alice')
  const finished = await socket.chat('first')
  const thread = finished.thread_id ?? ''
  const running = await socket.ask({ type: 'user_message', payload: { content: '/tool research {"topic": "otters", "seconds": 3}' } })
  await socket.until('tool_executing')
  const queued = await socket.ask({ type: 'user_message', payload: { content: 'while you are at it' } })
  await before.kill('SIGKILL')

  const after = await startService(t, env)
  const again = await after.connect('alice', { thread })
  const history = await historyWith(again, 6)

  t.match(history.map(({ role, content, run_id: runId }) => ({ role, content, runId })), [
    { role: 'user', content: 'first', runId: finished.run_id },
    { role: 'assistant', content: /first/, runId: finished.run_id },
    { role: 'user', content: /otters/, runId: running.run_id },
    { role: 'assistant', content: /otters/, runId: running.run_id },
    { role: 'user', content: 'while you are at it', runId: queued.run_id },
    { role: 'assistant', content: /while you are at it/, runId: queued.run_id }
  ], 'both runs have gone on')

  t.test('the run that was interrupted has come to its end, and the thread goes on', async (t) => {
    const listed = await again.ask({ type: 'stop_agent', payload: { run_id: running.run_id } })
    const next = await again.chat('second')

    t.match(listed, { type: 'runs_stopping', payload: { run_ids: [] } }, 'there is nothing left to stop')
    t.match(next.payload, { status: 'completed', content: /second/ })
    t.equal(next.thread_id, thread)
    t.ok((next.sequence ?? 0) > (finished.sequence ?? 0), 'sequences go on')
  })

  t.test('a second service on the same folder is refused with a reason', async (t) => {
    await t.rejects(startService(t, env), /THREADLINE_DATA_FOLDER_LOCKED/)

    const still = await again.ask({ type: 'ping', payload: {} })
    t.equal(still.type, 'pong')
  })

  t.test('a stopped service says goodbye with 1001 and ends by itself', async (t) => {
    const ended = after.kill('SIGTERM')

    t.equal((await again.closed).code, 1001)
    t.equal(await ended, 0)
  })

  t.test('what is stored says how each run ended, each once', async (t) => {
    const storage = await createStorage({ dataFolder: folder })
    t.teardown(() => storage.close())
    const alice = createIdentity({ userId: toUserId('alice') })
    const endings = async (run: ServerEvent): Promise<unknown> => {
      const events = await enterThread(alice, () => readEvents(storage, toThreadId(thread), 1000))
      return events.filter((event) => event.run_id === run.run_id && event.type === 'agent_completed').map(({ payload }) => payload)
    }

    t.match(await enterThread(alice, () => storage.runs.require(toRunId(running.run_id))), { status: 'completed', attempt: 2 })
    t.match(await endings(running), [{ status: 'completed' }])
    t.match(await endings(queued), [{ status: 'completed' }])
    t.match(await endings(finished), [{ status: 'completed' }])
  })
})

type Message = ServerEvent<'thread_history'>['payload']['messages'][number]

/** The history, as soon as it has that many messages. */
async function historyWith (socket: Awaited<ReturnType<Awaited<ReturnType<typeof startService>>['connect']>>, count: number): Promise<readonly Message[]> {
  const answer = await socket.ask({ type: 'get_thread_history', payload: {} }) as ServerEvent<'thread_history'>
  const { messages } = answer.payload
  if (messages.length >= count) return messages
  await socket.until('agent_completed')
  return await historyWith(socket, count)
}
