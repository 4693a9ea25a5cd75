import type { LanguageModelV4CallOptions, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import type { LanguageModel } from '../../lib/models/model-registry.ts'

/** What a model says in one step; with calls, it is asked again when their outcomes are there. */
export interface Said {
  readonly text: string
  readonly calls?: ReadonlyArray<{ readonly name: string, readonly input: Readonly<Record<string, unknown>> }>
}

export interface SteppingModel {
  readonly model: LanguageModel
  /** The prompt of each call, as text. */
  readonly asked: readonly string[]
}

const usage = {
  inputTokens: { total: 7, noCache: 7, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 3, text: 3, reasoning: undefined }
}

/**
 * A model that says what `say` says for the step that it is asked for, which is told by the tool results in the prompt, and the number of the
 * call, from 1 over all. Every call has used 7 tokens, and 3 for the answer.
 */
export function createSteppingModel (modelId: string, say: (step: number, call: number) => Said): SteppingModel {
  const asked: string[] = []
  return {
    asked,
    model: {
      specificationVersion: 'v4',
      provider: 'stepping',
      modelId,
      supportedUrls: {},
      doStream: async (options) => {
        asked.push(JSON.stringify(options.prompt))
        return { stream: ReadableStream.from(partsOf(say(stepOf(options), asked.length), modelId, asked.length)) }
      },
      doGenerate: () => Promise.reject(new Error('Nobody asks for a whole answer'))
    }
  }
}

const stepOf = ({ prompt }: LanguageModelV4CallOptions): number => prompt.filter(({ role }) => role === 'tool').length + 1

function partsOf ({ text, calls = [] }: Said, modelId: string, call: number): LanguageModelV4StreamPart[] {
  return [
    { type: 'stream-start', warnings: [] },
    { type: 'response-metadata', modelId },
    { type: 'text-start', id: 'text' },
    { type: 'text-delta', id: 'text', delta: text },
    { type: 'text-end', id: 'text' },
    ...calls.map(({ name, input }, index): LanguageModelV4StreamPart => ({
      type: 'tool-call', toolCallId: `provider-${call}-${index}`, toolName: name, input: JSON.stringify(input)
    })),
    { type: 'finish', finishReason: { unified: calls.length > 0 ? 'tool-calls' : 'stop', raw: undefined }, usage }
  ]
}
