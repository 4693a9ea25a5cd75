import type { Transformer } from 'node:stream/web'
import { context, SpanKind, trace, type Attributes, type Span } from '@opentelemetry/api'
import type { LanguageModelV4, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { wrapLanguageModel } from 'ai'
import { attributes } from '../context/attributes.ts'
import { currentIdentity, identityAttributes } from '../context/current-thread.ts'
import { errorTypeOf, failSpan } from '../context/hop.ts'
import { createHistogram } from '../context/instruments.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'

const tracer = trace.getTracer('threadline')
const tokenUsage = createHistogram(metricDefinitions.tokenUsage)
const modelDuration = createHistogram(metricDefinitions.modelDuration)

/**
 * The model with a span `chat {model}` around each streamed call, from the request to the end of its stream, by the GenAI semantic
 * conventions, and with their metrics of duration and tokens where it ends. The span carries the active identity; no text of the conversation
 * is in either.
 */
export function withChatSpan (model: LanguageModelV4): LanguageModelV4 {
  return wrapLanguageModel({
    model,
    middleware: {
      specificationVersion: 'v4',
      wrapStream: async ({ doStream }) => {
        const call = new ChatCall(model)
        try {
          const result = await context.with(trace.setSpan(context.active(), call.span), doStream)
          return { ...result, stream: result.stream.pipeThrough(observedBy(call)) }
        } catch (error) {
          call.fail(error)
          call.end()
          throw error
        }
      }
    }
  })
}

/** One call of a model, as its span and its metrics tell it. */
class ChatCall {
  readonly span: Span
  readonly #startedAt = performance.now()
  /** Of every metric of the call: of what was asked, and then of what has answered. */
  readonly #labels: Attributes
  #tokens: { readonly input: number | undefined, readonly output: number | undefined } | undefined
  #errorType: string | undefined

  constructor ({ modelId, provider }: LanguageModelV4) {
    this.#labels = { [attributes.operation]: 'chat', [attributes.provider]: provider, [attributes.requestModel]: modelId }
    this.span = tracer.startSpan(`chat ${modelId}`, {
      kind: SpanKind.CLIENT,
      attributes: { ...identityAttributes(currentIdentity()), ...this.#labels }
    })
  }

  read (part: LanguageModelV4StreamPart): void {
    if (part.type === 'response-metadata' && part.modelId !== undefined) {
      this.span.setAttribute(attributes.responseModel, part.modelId)
      this.#labels[attributes.responseModel] = part.modelId
    }
    if (part.type === 'error') this.fail(part.error)
    if (part.type !== 'finish') return
    const { finishReason, usage } = part
    this.#tokens = { input: usage.inputTokens.total, output: usage.outputTokens.total }
    this.span.setAttribute(attributes.finishReasons, [finishReason.unified])
    this.span.setAttribute(attributes.inputTokens, this.#tokens.input ?? 0)
    this.span.setAttribute(attributes.outputTokens, this.#tokens.output ?? 0)
  }

  fail (error: unknown): void {
    failSpan(this.span, error)
    this.#errorType = errorTypeOf(error)
  }

  end (): void {
    this.span.end()
    const error = this.#errorType === undefined ? {} : { [attributes.errorType]: this.#errorType }
    modelDuration.record((performance.now() - this.#startedAt) / 1_000, { ...this.#labels, ...error })
    // What a model does not count must not be reported.
    for (const [type, count] of Object.entries(this.#tokens ?? {})) {
      if (count !== undefined) tokenUsage.record(count, { ...this.#labels, [attributes.tokenType]: type })
    }
  }
}

/** Ends the call with the stream, in whichever way that is. */
function observedBy (call: ChatCall): TransformStream<LanguageModelV4StreamPart, LanguageModelV4StreamPart> {
  // `cancel` is part of the Streams standard and of Node 24, but not yet of the library's types.
  const transformer: Transformer<LanguageModelV4StreamPart, LanguageModelV4StreamPart> & { cancel: (reason: unknown) => void } = {
    transform (part, controller) {
      call.read(part)
      controller.enqueue(part)
    },
    flush () { call.end() },
    // Both when nobody reads on and when the model's own stream has broken off: only then there is an error for it.
    cancel (reason) {
      if (reason instanceof Error) call.fail(reason)
      call.end()
    }
  }
  return new TransformStream(transformer)
}
