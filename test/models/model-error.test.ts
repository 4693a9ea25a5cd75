import t from 'tap'
import { APICallError } from '@ai-sdk/provider'
import { RetryError, StreamProviderError } from 'ai'
import { ThreadlineError } from '../../lib/errors.ts'
import { toModelError } from '../../lib/models/model-error.ts'

function answered (statusCode: number): APICallError {
  return new APICallError({
    message: 'No, secret-key', statusCode, url: 'http://model.internal/v1', requestBodyValues: { messages: ['private'] },
    responseHeaders: { 'x-account': 'private' }, responseBody: 'private'
  })
}

t.test('an answer of a provider is told by its status', async (t) => {
  const messages = [401, 403, 429, 500].map((status) => toModelError(answered(status)).message)

  t.same(messages, [
    'The model provider refused this server', 'The model provider refused this server', 'The model provider is busy',
    'The model provider answered with status 500'
  ])
})

t.test('the cause for the log holds no key, address or conversation', async (t) => {
  const error = toModelError(answered(401), ['secret-key'])

  t.match(error.cause, { name: 'AI_APICallError', message: 'No, [key]' })
  const cause = error.cause as Error // just matched
  t.notMatch(JSON.stringify([cause, cause.message, cause.stack, Object.getOwnPropertyNames(cause)]), /secret-key|private|internal/)
})

t.test('the last of several attempts decides', async (t) => {
  const error = new RetryError({ message: 'Failed after 2 attempts', reason: 'maxRetriesExceeded', errors: [answered(500), answered(429)] })

  t.equal(toModelError(error).message, 'The model provider is busy')
})

t.test('an error in a stream is told by its status, when it has one', async (t) => {
  t.equal(toModelError(new StreamProviderError({ message: 'Overloaded', statusCode: 529 })).message, 'The model provider answered with status 529')
  t.equal(toModelError(new StreamProviderError({ message: 'Overloaded' })).message, 'The model failed')
})

t.test('aborts and time limits keep their meaning, and errors of our own stay as they are', async (t) => {
  const cancelled = new ThreadlineError('THREADLINE_CANCELLED')

  t.equal(toModelError(new DOMException('', 'AbortError')).code, 'THREADLINE_CANCELLED')
  t.equal(toModelError(new DOMException('', 'TimeoutError')).code, 'THREADLINE_TIMED_OUT')
  t.equal(toModelError(cancelled), cancelled)
})

t.test('a bug in a model shows nothing outside', async (t) => {
  t.match(toModelError(new TypeError('x is undefined')), { code: 'THREADLINE_MODEL_FAILED', message: 'The model failed' })
  t.match(toModelError('boom'), { code: 'THREADLINE_MODEL_FAILED', message: 'The model failed' })
})
