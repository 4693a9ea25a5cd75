import fp from 'fastify-plugin'
import { newRequestId } from '../lib/protocol/ids.ts'

/**
 * Gives each HTTP request a request id that is made here, never taken from a client, and tells it in `x-request-id`. Has to be
 * registered before the routes: `request.id` is then the id of logs, errors and identity alike.
 */
export default fp(async function requestId (app) {
  app.setGenReqId(newRequestId)

  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    done()
  })
}, { name: 'request-id', fastify: '5.x' })
