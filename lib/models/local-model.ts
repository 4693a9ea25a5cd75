import { randomUUID } from 'node:crypto'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type {
  LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4Content, LanguageModelV4FinishReason, LanguageModelV4Prompt,
  LanguageModelV4StreamPart, LanguageModelV4Usage
} from '@ai-sdk/provider'
import { decide, type Decision } from './local-rules.ts'

export interface LocalModelOptions {
  /** Waited before each piece of text; none by default. */
  readonly delayMs?: number
  /** Random by default, as a call's id is unique among all conversations. */
  readonly createCallId?: () => string
}

/**
 * A language model without network or key that follows the rules of `local-rules.ts`: the same conversation and tools always
 * give the same text, calls and usage (which counts words). Text is streamed word by word, and the event loop turns before each
 * one, so that a long answer neither holds up other conversations nor outruns its abort: an aborted stream fails with the
 * signal's reason and gives no further piece.
 */
export function createLocalModel ({ delayMs = 0, createCallId = randomCallId }: LocalModelOptions = {}): LanguageModelV4 {
  return {
    specificationVersion: 'v4',
    provider: 'local',
    modelId: 'local',
    supportedUrls: {},

    async doGenerate (options) {
      options.abortSignal?.throwIfAborted()
      const output = respond(options, createCallId)
      return { content: [output.content], finishReason: output.finishReason, usage: output.usage, warnings: [] }
    },

    async doStream (options) {
      options.abortSignal?.throwIfAborted()
      return { stream: ReadableStream.from(stream(respond(options, createCallId), delayMs, options.abortSignal)) }
    }
  }
}

interface Output {
  readonly content: Extract<LanguageModelV4Content, { type: 'text' | 'tool-call' }>
  readonly finishReason: LanguageModelV4FinishReason
  readonly usage: LanguageModelV4Usage
}

function respond (options: LanguageModelV4CallOptions, createCallId: () => string): Output {
  const decision = decide(options)
  const inputTokens = countWords(promptText(options.prompt))
  switch (decision.kind) {
    case 'fail': throw new Error(decision.message)
    case 'call': return {
      content: { type: 'tool-call', toolCallId: createCallId(), toolName: decision.toolName, input: decision.input },
      finishReason: { unified: 'tool-calls', raw: undefined },
      usage: usageOf(inputTokens, countWords(decision.input))
    }
    case 'answer': return respondWithText(decision, inputTokens, options.maxOutputTokens)
  }
}

function respondWithText ({ text }: Extract<Decision, { kind: 'answer' }>, inputTokens: number, limit = Infinity): Output {
  const words = wordsOf(text)
  const said = words.slice(0, limit)
  return {
    content: { type: 'text', text: said.join('') },
    finishReason: { unified: said.length < words.length ? 'length' : 'stop', raw: undefined },
    usage: usageOf(inputTokens, said.length)
  }
}

async function * stream (output: Output, delayMs: number, signal?: AbortSignal): AsyncGenerator<LanguageModelV4StreamPart> {
  yield { type: 'stream-start', warnings: [] }
  yield { type: 'response-metadata', modelId: 'local' }
  if (output.content.type === 'text') yield * streamText(output.content.text, delayMs, signal)
  else yield * streamCall(output.content)
  yield { type: 'finish', finishReason: output.finishReason, usage: output.usage }
}

async function * streamText (text: string, delayMs: number, signal?: AbortSignal): AsyncGenerator<LanguageModelV4StreamPart> {
  const id = 'text'
  yield { type: 'text-start', id }
  for (const delta of wordsOf(text)) {
    await pause(delayMs, signal)
    yield { type: 'text-delta', id, delta }
  }
  yield { type: 'text-end', id }
}

function * streamCall (call: Extract<Output['content'], { type: 'tool-call' }>): Generator<LanguageModelV4StreamPart> {
  const { toolCallId: id, toolName, input } = call
  yield { type: 'tool-input-start', id, toolName }
  yield { type: 'tool-input-delta', id, delta: input }
  yield { type: 'tool-input-end', id }
  yield call
}

/** Throws the signal's own reason, as `fetch` does: that tells a time limit from a cancellation. */
async function pause (delayMs: number, signal?: AbortSignal): Promise<void> {
  try {
    if (delayMs > 0) await setTimeout(delayMs, undefined, { signal })
    else await setImmediate(undefined, { signal })
  } finally {
    signal?.throwIfAborted()
  }
}

/** The words with the white space that follows them: joined, they are the text again. */
function wordsOf (text: string): string[] {
  return text.match(/\S+\s*|\s+/g) ?? []
}

function countWords (text: string): number {
  return text.match(/\S+/g)?.length ?? 0
}

function promptText (prompt: LanguageModelV4Prompt): string {
  return prompt.map((message) => {
    return message.role === 'system' ? message.content : message.content.map(partText).join(' ')
  }).join(' ')
}

function partText (part: Exclude<LanguageModelV4Prompt[number], { role: 'system' }>['content'][number]): string {
  switch (part.type) {
    case 'text':
    case 'reasoning': return part.text
    case 'tool-call': return JSON.stringify(part.input)
    case 'tool-result': return 'value' in part.output ? JSON.stringify(part.output.value) : ''
    default: return ''
  }
}

function usageOf (input: number, output: number): LanguageModelV4Usage {
  return {
    inputTokens: { total: input, noCache: input, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: output, text: output, reasoning: undefined }
  }
}

function randomCallId (): string {
  return `call_${randomUUID()}`
}
