import { EventEmitter } from 'node:events'
import { setImmediate as immediate } from 'node:timers/promises'
import { context, type Context } from '@opentelemetry/api'
import fp from 'fastify-plugin'
import { Type } from 'typebox'
import { defineAgent, type AgentOutput } from '../../lib/agents/define-agent.ts'
import { currentIdentity, currentThread } from '../../lib/context/current-thread.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import type { IsolationSubject } from '../../testing/isolation/subject.ts'
import type { IsolationOptions } from '../../testing/test-isolation.ts'

/** What teams write that looks right with one user. */
export interface CarelessCode {
  readonly title: string
  readonly subject: IsolationSubject
  readonly options?: IsolationOptions
  /** Part of one of the sentences that have to be told of it. */
  readonly told: RegExp
}

let lastContent = ''
const lastVisitor = defineAgent({
  name: 'last-visitor',
  async * run ({ content }) {
    lastContent = content
    yield { type: 'text', text: 'You said ' }
    yield { type: 'text', text: lastContent }
  }
})

const bell = new EventEmitter().setMaxListeners(0)
const bellRinger = defineAgent({
  name: 'bell-ringer',
  async * run () {
    const heard = Promise.withResolvers<string>()
    bell.once('rung', () => { heard.resolve(currentThread().userId) })
    yield { type: 'thinking', message: 'Listening' }
    bell.emit('rung')
    yield { type: 'text', text: `The bell was rung for ${await heard.promise}` }
  }
})

interface ContextManager { readonly _asyncLocalStorage: { enterWith (found: Context): void } }
let lastContext: Context | undefined
const contextKeeper = defineAgent({
  name: 'context-keeper',
  async * run ({ content }) {
    const found = lastContext
    lastContext = context.active()
    // oxlint-disable-next-line threadline/no-enter-with -- what is not to be done, and is done here
    if (found !== undefined) (context as unknown as { _getContextManager (): ContextManager })._getContextManager()._asyncLocalStorage.enterWith(found) // private to the API
    yield { type: 'text', text: content }
  }
})

const flights = new Map<string, Promise<string>>()
async function lookUp (text: string): Promise<string> {
  const found = flights.get(text) ?? immediate(`${text}, for ${currentThread().userId}`).finally(() => { flights.delete(text) })
  flights.set(text, found)
  return await found
}
const singleFlight = defineAgent({
  name: 'single-flight',
  async * run ({ content }) {
    yield { type: 'thinking', message: 'Looking it up' }
    yield { type: 'text', text: await lookUp(content) }
  }
})

let speech: AsyncIterator<AgentOutput> | undefined
async function * speak (content: string): AsyncGenerator<AgentOutput, void> {
  for (const part of ['first', 'second', 'third']) yield { type: 'text', text: `${part} ${content}. ` }
}
const sharedSpeech = defineAgent({
  name: 'shared-speech',
  run ({ content }) {
    const iterator = speech ??= speak(content)
    return { [Symbol.asyncIterator]: () => ({ next: async () => {
      const result = await iterator.next()
      if (result.done === true) speech = undefined
      return result
    } }) }
  }
})

let lastUser = ''
const forgetfulTool = defineTool({
  name: 'who_am_i',
  description: 'Says whom it serves',
  input: Type.Object({ words: Type.String() }),
  execute: async ({ words }) => {
    lastUser = currentThread().userId
    await immediate()
    return { user: lastUser, words }
  }
})

const deaf = defineAgent({
  name: 'deaf',
  async * run ({ content, signal }) {
    yield { type: 'thinking', message: 'Working' }
    if (signal.aborted) await new Promise(() => {})
    yield { type: 'text', text: content }
  }
})

/** One list of threads at a time: whoever is done calls the next. */
const pool = fp(async (app) => {
  const waiting: (() => void)[] = []
  let taken = false
  app.addHook('preHandler', (request, _reply, done) => {
    if (request.url !== '/v1/threads' || !taken) {
      taken ||= request.url === '/v1/threads'
      done()
    } else {
      waiting.push(done)
    }
  })
  app.addHook('onSend', (request, _reply, payload, done) => {
    done(null, payload)
    if (request.url !== '/v1/threads') return
    const next = waiting.shift()
    if (next === undefined) taken = false
    else next()
  })
})

const lastGreeted = fp(async (app) => {
  let last = ''
  app.get('/greeting', { schema: { hide: true } }, async () => {
    last = currentIdentity().userId
    await immediate()
    return { greeting: `Hello ${last}` }
  })
})

export const carelessCode: readonly CarelessCode[] = [
  { title: 'an agent with a module variable for whoever came last', subject: lastVisitor, told: /found in agent_delta what only/ },
  { title: 'an agent with an emitter for all, that binds no listener', subject: bellRinger, told: /was told in agent_delta of/ },
  { title: 'an agent that enters a context with enterWith', subject: contextKeeper, told: /worked as user/ },
  { title: 'an agent with a single flight by the text alone', subject: singleFlight, told: /was told in agent_delta of/ },
  { title: 'an agent whose generator is made for one and consumed by another', subject: sharedSpeech, told: /found in agent_delta what only/ },
  { title: 'a tool with a module variable for whoever came last', subject: forgetfulTool, told: /was told in tool_completed of/ },
  { title: 'an agent that goes on for ever when it is stopped', subject: deaf, told: /has not ended/ },
  { title: 'a plugin with a pool of callbacks before the handlers', subject: pool, told: /came to its handler .* as / },
  {
    title: 'a plugin with a variable for whoever came last',
    subject: lastGreeted,
    options: {
      visit: async ({ url, token }) => await (await fetch(`${url}/greeting`, { headers: { authorization: `Bearer ${token}` } })).text()
    },
    told: /was answered with what is/
  }
]
