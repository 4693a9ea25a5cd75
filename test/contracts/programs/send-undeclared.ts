import Fastify, { type FastifySchema } from 'fastify'
import t from 'tap'
import { Type } from 'typebox'
import { eventExample } from '../../../lib/protocol/event-guide.ts'
import { checkEvent, watchAnswers } from '../../support/conformance-record.ts'

/** A test program whose only test passes, and whose server says something that no contract declares. */

const app = Fastify()
const declared: FastifySchema = { response: { 200: Type.Object({ a: Type.String() }) } }
watchAnswers(app)
app.get('/dropped', { schema: declared }, async () => ({ a: 'a', secret: 1 }))
app.get('/undeclared', { schema: declared }, async (_request, reply) => await reply.code(202).send({ a: 'a' }))
app.get('/right', { schema: declared }, async () => ({ a: 'a' }))

t.test('everything that is asked for is answered', async (t) => {
  for (const url of ['/dropped', '/undeclared', '/right']) t.ok((await app.inject(url)).statusCode < 300)
  checkEvent({ ...eventExample('pong'), secret: 1 })
})
