import type { LanguageModelV4CallOptions, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import type { LanguageModel } from '../../lib/models/model-registry.ts'
import { createArrivals, type Arrivals } from './arrivals.ts'

/** A call of a scripted model that has arrived, and waits for what the test makes of it. */
export interface ModelCall {
  readonly options: LanguageModelV4CallOptions
  /** What was asked, as text. */
  readonly asked: string
  say (text: string): void
  fail (error: Error): void
}

export interface ScriptedModel {
  readonly model: LanguageModel
  readonly calls: Arrivals<ModelCall>
  /** How many calls there were. */
  readonly called: number
  /** How many have been waiting for their answer at the same time, at most. */
  readonly mostAtOnce: number
}

const usage = {
  inputTokens: { total: 7, noCache: 7, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 3, text: 3, reasoning: undefined }
}

/**
 * A model that says nothing until the test lets it. A call that is aborted ends with the signal's reason; with `heedless` it waits on. Every
 * answered call has used 7 tokens, and 3 for the answer.
 */
export function createScriptedModel (modelId: string, { heedless = false } = {}): ScriptedModel {
  const calls = createArrivals<ModelCall>()
  let called = 0
  let waiting = 0
  let mostAtOnce = 0

  const doStream: LanguageModel['doStream'] = async (options) => {
    const answer = Promise.withResolvers<string>()
    called += 1
    mostAtOnce = Math.max(mostAtOnce, waiting += 1)
    calls.push({ options, asked: JSON.stringify(options.prompt), say: answer.resolve, fail: answer.reject })
    const abort = (): void => { answer.reject(options.abortSignal?.reason as Error) } // an Error: every abort of ours gives one as reason
    if (!heedless) options.abortSignal?.addEventListener('abort', abort)
    try {
      return { stream: ReadableStream.from(partsOf(await answer.promise, modelId)) }
    } finally {
      options.abortSignal?.removeEventListener('abort', abort)
      waiting -= 1
    }
  }

  return {
    model: {
      specificationVersion: 'v4',
      provider: 'scripted',
      modelId,
      supportedUrls: {},
      doStream,
      doGenerate: () => Promise.reject(new Error('Nobody asks for a whole answer'))
    },
    calls,
    get called () { return called },
    get mostAtOnce () { return mostAtOnce }
  }
}

function partsOf (text: string, modelId: string): LanguageModelV4StreamPart[] {
  return [
    { type: 'stream-start', warnings: [] },
    { type: 'response-metadata', modelId: `${modelId}-2026` },
    { type: 'text-start', id: 'text' },
    { type: 'text-delta', id: 'text', delta: text },
    { type: 'text-end', id: 'text' },
    { type: 'finish', finishReason: { unified: 'stop', raw: undefined }, usage }
  ]
}
