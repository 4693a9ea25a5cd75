import { APICallError } from '@ai-sdk/provider'
import { RetryError, StreamProviderError } from 'ai'
import { isThreadlineError, ThreadlineError } from '../errors.ts'

/**
 * What a model threw, as an error that may be told to a client: `THREADLINE_MODEL_FAILED`, or `THREADLINE_TIMED_OUT` and
 * `THREADLINE_CANCELLED` where the call was aborted. The SDK's own errors carry the conversation, addresses and
 * headers, so the cause, which is for the log, is a new error with the first one's name, message and stack; and since some
 * providers repeat a refused key, `secrets` are cut out of it.
 */
export function toModelError (error: unknown, secrets: readonly string[] = []): ThreadlineError {
  const last = RetryError.isInstance(error) ? error.lastError : error
  if (isThreadlineError(last)) return last
  const cause = withoutSecrets(last, secrets)
  if (cause.name === 'TimeoutError') return new ThreadlineError('THREADLINE_TIMED_OUT', undefined, { cause })
  if (cause.name === 'AbortError') return new ThreadlineError('THREADLINE_CANCELLED', undefined, { cause })
  return new ThreadlineError('THREADLINE_MODEL_FAILED', messageOf(statusOf(last)), { cause })
}

function statusOf (error: unknown): number | undefined {
  return APICallError.isInstance(error) || StreamProviderError.isInstance(error) ? error.statusCode : undefined
}

function messageOf (status: number | undefined): string | undefined {
  if (status === undefined) return undefined
  if (status < 400) return 'The connection to the model provider broke' // within an answer that had begun well
  switch (status) {
    case 401:
    case 403: return 'The model provider refused this server'
    case 429: return 'The model provider is busy'
    default: return `The model provider answered with status ${status}`
  }
}

function withoutSecrets (error: unknown, secrets: readonly string[]): Error {
  const clean = (text: string) => secrets.reduce((rest, secret) => rest.replaceAll(secret, '[key]'), text)
  if (!(error instanceof Error)) return new Error('The model threw something that is no error')
  const cause = new Error(clean(error.message))
  cause.name = error.name
  cause.stack = clean(error.stack ?? '')
  return cause
}
