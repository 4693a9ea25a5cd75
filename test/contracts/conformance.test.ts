import t from 'tap'
import { ThreadlineError, toPublicError } from '../../lib/errors.ts'
import { ErrorBody } from '../../lib/protocol/error-body.ts'
import { eventExample } from '../../lib/protocol/event-guide.ts'
import { eventTypes, ThreadView } from '../../lib/protocol/events.ts'
import { exampleIds } from '../../lib/protocol/example-ids.ts'
import { mismatchesOfAnswer, mismatchesOfEvent } from '../support/conformance.ts'
import { runWithPreload } from '../support/run-program.ts'

const payloadOf = (event: Record<string, unknown>) => event['payload'] as Record<string, unknown> // an example's

t.test('an event that differs from its schema is named: a field that is missing, wrong, or not declared', async (t) => {
  for (const type of eventTypes) {
    const event = eventExample(type)

    t.same(mismatchesOfEvent(event), [], type)
    t.match(mismatchesOfEvent({ ...event, secret: 1 }), [new RegExp(`^event ${type} `)], `${type} with a field more`)
    t.match(mismatchesOfEvent({ ...event, payload: { ...payloadOf(event), secret: 1 } }), [new RegExp(`^event ${type} /payload`)], `${type} with a field more in its payload`)
    t.match(mismatchesOfEvent({ ...event, event_id: 'x' }), [/event_id/], `${type} with another id`)
    t.match(mismatchesOfEvent({ ...event, timestamp: 'now' }), [/timestamp/], `${type} at no time`)
  }
  t.match(mismatchesOfEvent({ ...eventExample('pong'), type: 'pang' }), ['event pang has no schema'])
  t.match(mismatchesOfEvent('pong'), ['event string has no schema'])
})

t.test('a field that is not declared is found as deep as it stands, and what is open by its nature stays so', async (t) => {
  const switched = eventExample('thread_switched')
  const thread = payloadOf(switched)['thread'] as ThreadView // an example's

  t.same(mismatchesOfEvent({ ...switched, payload: { ...payloadOf(switched), thread: { ...thread, metadata: { any: ['thing'] } } } }), [])
  t.match(mismatchesOfEvent({ ...switched, payload: { ...payloadOf(switched), thread: { ...thread, owner: 'alice' } } }), [/\/payload\/thread/])
})

t.test('an answer is compared with the schema of its status, and one that nobody routed with that of errors', async (t) => {
  const { error } = { error: toPublicError(new ThreadlineError('THREADLINE_NOT_FOUND')) }
  const refusal = { error: { code: error.code, message: error.message, request_id: exampleIds.request } }
  const responses = { 200: ThreadView, '4xx': ErrorBody }
  const answer = { where: 'GET /x', status: 200, responses, body: payloadOf(eventExample('thread_created')) }

  t.same(mismatchesOfAnswer(answer), [])
  t.same(mismatchesOfAnswer({ ...answer, status: 404, body: refusal }), [])
  t.same(mismatchesOfAnswer({ ...answer, status: 404, body: refusal, responses: undefined }), [])
  t.match(mismatchesOfAnswer({ ...answer, body: { ...answer.body, owner: 'alice' } }), [/^GET \/x .*owner/])
  t.match(mismatchesOfAnswer({ ...answer, status: 404 }), [/^GET \/x /])
  t.match(mismatchesOfAnswer({ ...answer, status: 500 }), ['GET /x has no schema for this status'])
})

t.test('a test program whose server has sent something else fails at its end, and says what', async (t) => {
  const { exitCode, output, errors } = await runWithPreload('test/contracts/programs/send-undeclared.ts', { OTEL_SDK_DISABLED: 'true' })
  const told = `${output}${errors}`

  t.not(exitCode, 0)
  t.match(output, /^ok 1 - everything that is asked for/m)
  for (const planted of ['GET /dropped 200 returned', 'GET /undeclared 202 returned has no schema', 'event pong']) t.match(told, planted)
  t.notMatch(told, 'GET /right')
})
