import t, { type Test } from 'tap'
import { ThreadlineError } from '../../lib/errors.ts'
import { toRunId, toThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import type { ThreadState, ThreadStore } from '../../lib/stores/thread-store.ts'
import { assembleServer, type AssembledServer } from '../support/assembled-server.ts'
import { createGatedAgent, type GatedAgent } from '../support/gated-agent.ts'
import { endOfRun } from '../support/run-end.ts'
import { startServer } from '../support/start-server.ts'

const server = await startServer(t)

interface Stage {
  readonly assembled: AssembledServer
  readonly gated: GatedAgent
  readonly thread: ThreadId
  /** What reading the state of a thread gives from now on. */
  meanwhile: ((read: () => Promise<ThreadState>) => Promise<ThreadState>) | undefined
}

/** A thread of the user, and a server whose storage can take its time to tell how a thread stands. */
async function prepare (t: Test, user: string): Promise<Stage> {
  const { storage } = server.app
  const stage: { meanwhile: Stage['meanwhile'] } = { meanwhile: undefined }
  const threads: ThreadStore = {
    ...storage.threads,
    state: async (threadId) => {
      const read = async (): Promise<ThreadState> => await storage.threads.state(threadId)
      return await (stage.meanwhile?.(read) ?? read())
    }
  }
  const gated = createGatedAgent()
  const assembled = await assembleServer(t, server, { storage: { ...storage, threads }, agents: [gated.agent] })
  return Object.assign(stage, { assembled, gated, thread: toThreadId(await server.thread(user)) })
}

t.test('a socket without a thread knows into which one its message has put it before it hears of what goes on there', async (t) => {
  // kill: in `acceptRun` of lib/handlers/accept-run.ts, answer after `enterKnownThread` and not in its `tell`
  const stage = await prepare(t, 'alice')
  const { assembled, gated, thread } = stage
  const [inside, outside] = [await assembled.connect('alice', { thread }), await assembled.connect('alice')]
  const first = await inside.ask({ type: 'user_message', payload: { content: 'first' } })
  await gated.arrived.next()
  stage.meanwhile = async (read) => {
    const state = await read()
    gated.open('first')
    await inside.until('agent_completed')
    return state
  }

  await outside.ask({ type: 'user_message', thread_id: thread, payload: { content: 'second' } })
  await outside.until('agent_completed', (event) => event.run_id === first.run_id)

  const told = outside.events.filter(({ type }) => type !== 'presence' && type !== 'run_queued').map(({ type }) => type)
  t.equal(told[1], 'message_accepted', told.join(', '))
  gated.open('second')
  await outside.until('agent_completed', (event) => event.run_id !== first.run_id)
})

t.test('a message that is stored is answered by its run, also when its socket could not be put into the thread', async (t) => {
  // kill: in `acceptRun` of lib/handlers/accept-run.ts, `enterKnownThread` before the `try`
  const stage = await prepare(t, 'bob')
  const { assembled, gated, thread } = stage
  const socket = await assembled.connect('bob')
  gated.open('hello')
  stage.meanwhile = () => Promise.reject(new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE'))
  const message = { type: 'user_message', id: 'mine', thread_id: thread, payload: { content: 'hello' } }

  const refused = await socket.ask(message)
  stage.meanwhile = undefined
  const accepted = await socket.ask(message)

  t.match(refused, { type: 'error', payload: { code: 'THREADLINE_STORAGE_UNAVAILABLE', retryable: true } })
  t.match(accepted, { type: 'message_accepted', payload: { duplicate: true } })
  const end = await endOfRun(assembled, 'bob', toRunId(accepted.run_id))
  t.match(end.payload, { status: 'completed', content: 'hello' })
})
