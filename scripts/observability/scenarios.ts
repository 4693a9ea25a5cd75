import { fileURLToPath } from 'node:url'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import type { TestService } from '../../test/support/start-service.ts'
import type { TestSocket } from '../../test/support/test-socket.ts'
import { openStream, TestStream } from '../../test/support/test-stream.ts'

/** What somebody was sent. */
export interface Told { readonly user: string, readonly events: readonly ServerEvent[] }

/** Something that users do with a service whose agents are `tracedAgents`, under names of their own. Resolves when it is over. */
export type Scenario = (service: TestService) => Promise<readonly Told[]>

export const tracedAgents = fileURLToPath(new URL('../../test/support/traced-agents', import.meta.url))

const quickTool = '/tool research {"topic":"bees","seconds":0}'
const slowTool = '/tool research {"topic":"bees","seconds":60}'

export const scenarios = {
  'tools-over-sockets': async (service) => {
    const users = ['tools-ann', 'tools-ben']
    return await Promise.all(users.map(async (user) => {
      const socket = await service.connect(user)
      await socket.chat(quickTool)
      await socket.chat('hello', { agent: 'echo' })
      return await leave(user, socket)
    }))
  },

  'http-stream': async (service) => {
    const user = 'http-ann'
    const ask = await http(service, user)
    const { thread_id: thread } = await ask<{ thread_id: string }>('POST', '/v1/threads', {})
    const stream = await openStream(`${service.url}/v1/threads/${thread}/runs/stream`, {
      method: 'POST', token: await service.token(user), body: { content: quickTool }
    })
    if (!(stream instanceof TestStream)) throw new Error(`Refused: ${stream.status} ${stream.text}`)
    await stream.closed
    await ask('GET', `/v1/threads/${thread}/messages`)
    await ask('GET', `/v1/runs/${stream.events[0]?.run_id ?? ''}`)
    return [{ user, events: stream.events }]
  },

  stop: async (service) => {
    const socket = await service.connect('stop-ann')
    await begin(socket, slowTool)
    await socket.ask({ type: 'stop_agent', payload: {} })
    await socket.until('agent_completed')
    return [await leave('stop-ann', socket)]
  },

  interrupt: async (service) => await crowd(service, 'interrupt'),
  rollback: async (service) => await crowd(service, 'rollback'),

  enqueue: async (service) => {
    const socket = await service.connect('enqueue-ann')
    await socket.ask({ type: 'user_message', payload: { content: quickTool } })
    const second = await socket.ask({ type: 'user_message', payload: { content: 'then', agent: 'echo', multitask_strategy: 'enqueue' } })
    await socket.until('agent_completed', ({ run_id: runId }) => runId === second.run_id)
    return [await leave('enqueue-ann', socket)]
  },

  regenerate: async (service) => {
    const socket = await service.connect('regenerate-ann')
    await socket.chat('once', { agent: 'echo' })
    const again = await socket.ask({ type: 'regenerate', payload: { agent: 'echo' } })
    await socket.until('agent_completed', ({ run_id: runId }) => runId === again.run_id)
    return [await leave('regenerate-ann', socket)]
  },

  'tabs-and-resume': async (service) => {
    const user = 'tabs-ann'
    const first = await service.connect(user)
    const { thread_id: thread, run_id: runId } = await begin(first, '/tool research {"topic":"bees","seconds":0.3}')
    if (typeof thread !== 'string') throw new Error('A run is in no thread')
    const second = await service.connect(user, { thread })
    const { sequence, epoch } = await first.until('tool_executing')
    first.drop()
    await second.until('agent_completed', (event) => event.run_id === runId)
    const back = await service.connect(user, { thread })
    await back.ask({ type: 'resume', payload: { after: sequence ?? 0, epoch } })
    return [{ user, events: first.events }, await leave(user, second), await leave(user, back)]
  },

  'failing-tool': async (service) => await say(service, 'clumsy-ann', 'clumsy'),
  'failing-agent': async (service) => await say(service, 'failing-ann', 'failing'),

  commands: async (service) => {
    const user = 'commands-ann'
    const socket = await service.connect(user)
    const { thread_id: thread } = await socket.ask({ type: 'create_thread', payload: { title: 'One' } })
    await socket.ask({ type: 'rename_thread', payload: { thread_id: thread, title: 'Two' } })
    await socket.ask({ type: 'list_threads', payload: {} })
    await socket.ask({ type: 'search_threads', payload: { query: 'Two' } })
    await socket.ask({ type: 'delete_thread', payload: { thread_id: thread } })
    await socket.ask({ type: 'restore_thread', payload: { thread_id: thread } })
    await socket.ask({ type: 'switch_thread', payload: { thread_id: thread } })
    await socket.ask({ type: 'get_thread_history', payload: {} })
    await socket.ask({ type: 'ping', payload: {} })
    return [await leave(user, socket)]
  },

  refusals: async (service) => {
    const [ann, ben] = [await service.connect('refused-ann'), await service.connect('refused-ben')]
    const { thread_id: thread } = await ann.ask({ type: 'create_thread', payload: {} })
    await ben.ask({ type: 'switch_thread', payload: { thread_id: thread } })
    await ben.ask({ type: 'user_message', thread_id: thread, payload: { content: 'not mine' } })
    await ben.ask({ type: 'no_such_command', payload: {} })
    return await Promise.all([leave('refused-ann', ann), leave('refused-ben', ben)])
  }
} satisfies Readonly<Record<string, Scenario>>

export type ScenarioName = keyof typeof scenarios
export const scenarioNames = Object.keys(scenarios) as readonly ScenarioName[] // keys of a const object

/** A second message that does not wait for the first one's run. */
async function crowd (service: TestService, strategy: 'interrupt' | 'rollback'): Promise<readonly Told[]> {
  const user = `${strategy}-ann`
  const socket = await service.connect(user)
  await begin(socket, slowTool)
  await socket.chat('rather this', { agent: 'echo', multitask_strategy: strategy })
  return [await leave(user, socket)]
}

async function say (service: TestService, user: string, agent: string): Promise<readonly Told[]> {
  const socket = await service.connect(user)
  await socket.chat('go on', { agent })
  return [await leave(user, socket)]
}

/** Sends a message, and resolves when its run is in its tool. */
export async function begin (socket: TestSocket, content: string): Promise<ServerEvent> {
  const accepted = await socket.ask({ type: 'user_message', payload: { content } })
  await socket.until('tool_executing', (event) => event.run_id === accepted.run_id)
  return accepted
}

async function leave (user: string, socket: TestSocket): Promise<Told> {
  await socket.settled()
  await socket.close()
  return { user, events: socket.events }
}

async function http (service: TestService, user: string) {
  const authorization = `Bearer ${await service.token(user)}`
  return async <Answer> (method: string, path: string, body?: unknown): Promise<Answer> => {
    const response = await fetch(`${service.url}${path}`, {
      method,
      headers: { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
    return await response.json() as Answer // the caller knows the operation
  }
}
