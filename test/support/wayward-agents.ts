import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import type { LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { Type } from 'typebox'
import { defineAgent, type Agent } from '../../lib/agents/define-agent.ts'
import type { LanguageModel } from '../../lib/models/model-registry.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'

export interface WaywardAgents {
  /** Each fails in a way of its own; `inside` is in all that they throw. */
  readonly failing: readonly Agent[]
  /** Each would go on for ever, some without heeding their signal. */
  readonly endless: readonly Agent[]
  /** The models that they name. */
  readonly models: Readonly<Record<string, LanguageModel>>
  /** What a client must never see. */
  readonly inside: string
  /** What has come to where it does not go on by itself: names of endless agents. */
  readonly heldUp: ReadonlySet<string>
}

/** Agents that do what no agent should. The endless ones have `runTimeoutMs` for a time limit. */
export function createWaywardAgents (runTimeoutMs: number): WaywardAgents {
  const inside = `inside-${crypto.randomUUID()}`
  const heldUp = new Set<string>()
  const hold = (name: string): Promise<never> => {
    heldUp.add(name)
    return new Promise<never>(() => {})
  }
  const saying = defineAgent({ name: 'saying', async * run () { yield { type: 'text', text: 'so far, so good' } } })

  const failing = [
    defineAgent({ name: 'fails-at-once', run: () => { throw new Error(inside) } }),
    defineAgent({
      name: 'fails-late',
      async * run () {
        yield { type: 'text', text: 'so far, so good' }
        await turn()
        throw new TypeError(inside, { cause: new Error(inside) })
      }
    }),
    defineAgent({ name: 'fails-without-error', run: () => { throw inside as unknown as Error } }), // any value can be thrown
    defineAgent({
      name: 'fails-in-a-step',
      steps: [{ agent: saying }, { agent: defineAgent({ name: 'step', run: () => { throw new Error(inside) } }) }, { agent: saying }]
    }),
    defineAgent({ name: 'fails-in-its-model', model: 'failing', instructions: '' })
  ]

  const limits = { runTimeoutMs }
  const endless = [
    defineAgent({
      name: 'endless-heedful',
      limits,
      async * run ({ signal }) {
        heldUp.add('endless-heedful')
        await once(signal, 'abort')
        yield { type: 'text', text: 'too late' }
      }
    }),
    defineAgent({ name: 'endless-heedless', limits, async * run () { yield { type: 'text', text: await hold('endless-heedless') } } }),
    defineAgent({
      name: 'endless-talk',
      limits,
      async * run () {
        heldUp.add('endless-talk')
        for (;;) yield { type: 'thinking', message: 'and so on' }
      }
    }),
    ...['endless-tool', 'endless-permission'].map((name) => {
      const wait = (): Promise<never> => hold(name)
      const permit = name === 'endless-permission' ? wait : () => true
      const tool = defineTool({ name: 'wait', description: 'Heeds nothing', input: Type.Object({}), permit, execute: wait })
      return defineAgent({
        name,
        limits,
        tools: [tool],
        async * run ({ callTool }) {
          await callTool('wait', {})
          yield { type: 'text', text: 'too late' }
        }
      })
    }),
    defineAgent({
      name: 'endless-step',
      limits,
      steps: [
        { agent: saying },
        { agent: defineAgent({ name: 'step', async * run () { yield { type: 'text', text: await hold('endless-step') } } }), continueOnError: true },
        { agent: saying }
      ]
    }),
    defineAgent({ name: 'endless-model', limits, model: 'silent', instructions: '' }),
    defineAgent({ name: 'endless-stream', limits, model: 'stalling', instructions: '' })
  ]

  return {
    failing,
    endless,
    inside,
    heldUp,
    models: {
      silent: modelOf('silent', () => hold('endless-model')),
      stalling: modelOf('stalling', async () => ({ stream: stallingStream(() => hold('endless-stream')) })),
      failing: modelOf('failing', () => Promise.reject(new Error(inside)))
    }
  }
}

function modelOf (modelId: string, doStream: LanguageModel['doStream']): LanguageModel {
  const doGenerate = (): Promise<never> => Promise.reject(new Error('nobody asks for a whole answer'))
  return { specificationVersion: 'v4', provider: 'wayward', modelId, supportedUrls: {}, doGenerate, doStream }
}

/** Begins to speak, and then neither goes on nor lets itself be cancelled. */
function stallingStream (stall: () => Promise<never>): ReadableStream<LanguageModelV4StreamPart> {
  const parts: LanguageModelV4StreamPart[] = [
    { type: 'stream-start', warnings: [] }, { type: 'text-start', id: 'text' }, { type: 'text-delta', id: 'text', delta: 'so far, so good' }
  ]
  return new ReadableStream({
    async pull (controller) {
      const part = parts.shift()
      if (part === undefined) await stall()
      else controller.enqueue(part)
    },
    cancel: stall
  })
}
