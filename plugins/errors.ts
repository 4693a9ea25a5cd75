import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isThreadlineError, ThreadlineError } from '../lib/errors.ts'
import type { ErrorBody } from '../lib/protocol/error-body.ts'
import { newRequestId } from '../lib/protocol/ids.ts'

/**
 * Answers every refused or failed request with `{ error: { code, message, request_id } }`. What was not meant for a client is
 * logged in full and told as `THREADLINE_INTERNAL`.
 */
export default fp(async function errors (app) {
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const known = toThreadlineError(error)
    if (known === undefined) request.log.error({ err: error }, 'The request failed')
    else request.log.info({ code: known.code, reason: reasonOf(known) }, known.message)
    const told = known ?? new ThreadlineError('THREADLINE_INTERNAL')
    if (told.statusCode === 401) reply.header('www-authenticate', 'Bearer') // RFC 9110, section 11.6.1
    if (told.retryAfterMs !== undefined) reply.header('retry-after', Math.max(1, Math.ceil(told.retryAfterMs / 1_000))) // RFC 9110, section 10.2.3
    return reply.code(told.statusCode).send(bodyOf(told, request.id))
  })

  app.setNotFoundHandler((request, reply) => reply.code(404).send(bodyOf(new ThreadlineError('THREADLINE_NOT_FOUND'), request.id)))
}, { name: 'errors', fastify: '5.x', dependencies: ['request-id'] })

/**
 * For Fastify's option `frameworkErrors`: answers, in the same shape, a URL that cannot be read, which no hook and no handler gets to
 * see. Ends the connection, because after a refused upgrade nothing else would.
 */
export function answerUnroutable (_error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const requestId = newRequestId()
  reply.raw.once('finish', () => { request.raw.socket.destroy() })
  reply.code(400).header('x-request-id', requestId).header('connection', 'close')
    .send(bodyOf(new ThreadlineError('THREADLINE_BAD_REQUEST', 'The URL cannot be read'), requestId))
}

function toThreadlineError (error: FastifyError): ThreadlineError | undefined {
  if (isThreadlineError(error)) return error
  if (error.validation !== undefined) return invalidNameIn(error) ?? new ThreadlineError('THREADLINE_BAD_REQUEST', error.message)
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new ThreadlineError('THREADLINE_BODY_TOO_LARGE')
  // Only Fastify's own refusals: another library's error with a status is about something that we did, not the client.
  const refused = error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500
  if (refused && error.code?.startsWith('FST_ERR_') === true) return new ThreadlineError('THREADLINE_BAD_REQUEST', error.message)
  return undefined
}

/** What names a thread or a run in the address is refused in the words in which a frame would be. */
function invalidNameIn ({ validation, validationContext }: FastifyError): ThreadlineError | undefined {
  const path = validationContext === 'params' ? validation?.[0]?.instancePath : undefined
  if (path === '/thread_id') return new ThreadlineError('THREADLINE_INVALID_THREAD_ID')
  return path === '/run_id' ? new ThreadlineError('THREADLINE_INVALID_RUN_ID') : undefined
}

/** Only a text: an error as cause may hold what belongs in no log, and a failure is not refused but logged in full. */
function reasonOf (error: ThreadlineError): string | undefined {
  return typeof error.cause === 'string' ? error.cause : undefined
}

function bodyOf ({ code, message }: ThreadlineError, requestId: string): ErrorBody {
  return { error: { code, message, request_id: requestId } }
}
