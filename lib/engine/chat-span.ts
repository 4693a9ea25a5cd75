import type { Transformer } from 'node:stream/web'
import { context, SpanKind, trace, type Span } from '@opentelemetry/api'
import type { LanguageModelV4, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { wrapLanguageModel } from 'ai'
import { attributes } from '../context/attributes.ts'
import { currentIdentity, identityAttributes } from '../context/current-thread.ts'
import { failSpan } from '../context/hop.ts'

const tracer = trace.getTracer('threadline')

/**
 * The model with a span `chat {model}` around each streamed call, from the request to the end of its stream, by the GenAI semantic
 * conventions. It carries the active identity; no text of the conversation is in it.
 */
export function withChatSpan (model: LanguageModelV4): LanguageModelV4 {
  return wrapLanguageModel({
    model,
    middleware: {
      specificationVersion: 'v4',
      wrapStream: async ({ doStream }) => {
        const span = startChatSpan(model)
        try {
          const result = await context.with(trace.setSpan(context.active(), span), doStream)
          return { ...result, stream: result.stream.pipeThrough(spanOfStream(span)) }
        } catch (error) {
          failSpan(span, error)
          span.end()
          throw error
        }
      }
    }
  })
}

function startChatSpan (model: LanguageModelV4): Span {
  return tracer.startSpan(`chat ${model.modelId}`, {
    kind: SpanKind.CLIENT,
    attributes: {
      ...identityAttributes(currentIdentity()),
      [attributes.operation]: 'chat',
      [attributes.provider]: model.provider,
      [attributes.requestModel]: model.modelId
    }
  })
}

/** Ends the span with the stream, in whichever way that is. */
function spanOfStream (span: Span): TransformStream<LanguageModelV4StreamPart, LanguageModelV4StreamPart> {
  // `cancel` is part of the Streams standard and of Node 24, but not yet of the library's types.
  const transformer: Transformer<LanguageModelV4StreamPart, LanguageModelV4StreamPart> & { cancel: () => void } = {
    transform (part, controller) {
      if (part.type === 'response-metadata' && part.modelId !== undefined) span.setAttribute(attributes.responseModel, part.modelId)
      if (part.type === 'error') failSpan(span, part.error)
      if (part.type === 'finish') {
        span.setAttribute(attributes.finishReasons, [part.finishReason.unified])
        span.setAttribute(attributes.inputTokens, part.usage.inputTokens.total ?? 0)
        span.setAttribute(attributes.outputTokens, part.usage.outputTokens.total ?? 0)
      }
      controller.enqueue(part)
    },
    flush () { span.end() },
    cancel () { span.end() }
  }
  return new TransformStream(transformer)
}
