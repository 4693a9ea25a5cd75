import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { Value } from 'typebox/value'
import { defineAgent, type Agent } from '../../lib/agents/define-agent.ts'
import { tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import type { Tool } from '../../lib/tools/define-tool.ts'
import type { StageOptions } from '../stage.ts'
import { observeAgent, type Observer } from './observe.ts'

/** Foreign code that is to serve many users at once. */
export type IsolationSubject = Agent | Tool | FastifyPluginAsync

/** How the code is put on a stage: which agent is talked to, and what else the server needs. */
export interface Staging {
  readonly title: string
  readonly agent: string
  readonly stage: StageOptions
}

export interface StagingOptions {
  readonly stage: StageOptions
  /** What a tool is called with. */
  readonly input: ((words: string) => unknown) | undefined
}

export function stageSubject (subject: IsolationSubject, observer: Observer, { stage, input }: StagingOptions): Staging {
  const withAgent = (agent: Agent): StageOptions => ({ ...stage, agents: [...stage.agents ?? [], observeAgent(agent, observer)] })
  if (typeof subject === 'function') {
    const watching = [...stage.plugins ?? [], subject, watchRequests(observer)]
    return { title: 'the plugin', agent: talker.name, stage: { ...withAgent(talker), plugins: watching } }
  }
  if ('execute' in subject) {
    const user = userOf(subject, input ?? ((words) => inputOf(subject, words)))
    return { title: `the tool ${subject.name}`, agent: user.name, stage: withAgent(user) }
  }
  // One of the product's own may be tested beside itself.
  const agent = { ...subject, name: `tested-${subject.name}`.slice(0, 64) }
  return { title: `the agent ${subject.name}`, agent: agent.name, stage: withAgent(agent) }
}

/** Says what it was told. */
const talker = defineAgent({
  name: 'isolation-talker',
  async * run ({ content }) {
    yield { type: 'thinking', message: 'Listening' }
    yield { type: 'text', text: content }
  }
})

/** Calls the tool, and says what came of it. */
function userOf (tool: Tool, inputFor: (words: string) => unknown): Agent {
  return defineAgent({
    name: 'isolation-tool-user',
    tools: [tool],
    async * run ({ content, callTool }) {
      yield { type: 'thinking', message: 'Asking the tool' }
      const outcome = await callTool(tool.name, inputFor(content))
      if (!outcome.success) throw new Error(outcome.error.message)
      yield { type: 'text', text: JSON.stringify(outcome.result) ?? '' }
    }
  })
}

/** An input that the tool's schema allows, with the words in every text of it. */
function inputOf ({ input }: Tool, words: string): unknown {
  const created = Value.Create(input)
  const texts = Object.entries(input.properties)
    .filter(([, property]) => 'type' in property && property.type === 'string' && !('enum' in property) && !('pattern' in property) && !('format' in property))
    .map(([name]) => [name, words])
  return { ...typeof created === 'object' && created !== null ? created : {}, ...Object.fromEntries(texts) }
}

/** Registered behind the plugin: sees the context in which the plugin's hooks let a request go on, and has handlers begin together. */
function watchRequests (observer: Observer): FastifyPluginAsync {
  return fp(async (app) => {
    app.addHook('preHandler', (request, _reply, done) => {
      const { config, url = '' } = request.routeOptions
      if (config.public === true || request.is404) return done()
      const { userId } = request.caller
      const found = tryCurrentIdentity()?.userId
      if (found !== userId) observer.wrong(`A request of ${userId} came to its handler ${url} as ${found ?? 'nobody'}`)
      observer.requests.come(`${request.method} ${url}`, done)
    })
  }, { name: 'isolation-watch' })
}
