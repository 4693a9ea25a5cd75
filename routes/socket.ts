import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { toThreadId } from '../lib/protocol/ids.ts'

const Handshake = Type.Object({
  thread_id: Type.Optional(Type.String({ description: 'A thread of the user, in which the connection starts' })),
  ticket: Type.Optional(Type.String({ description: 'A ticket of POST /v1/tickets, where no header can be set' }))
})

/**
 * The socket of the chat. Everything that can refuse it is asked before the upgrade, so that the refusal is an answer: the token, the
 * origin, the user's limit, and the thread, which is unknown to whoever does not own it.
 */
export default async function socket (app: FastifyInstance): Promise<void> {
  app.withTypeProvider<TypeBoxTypeProvider>().get('/v1/socket', {
    websocket: true,
    config: { socket: true },
    schema: { summary: 'Chat over WebSocket, subprotocol threadline.v1', querystring: Handshake },
    preHandler: async ({ query }) => {
      app.gateway.admit()
      if (query.thread_id !== undefined) await app.storage.threads.require(toThreadId(query.thread_id))
    }
  }, (webSocket, { caller, query }) => {
    const threadId = query.thread_id === undefined ? undefined : toThreadId(query.thread_id)
    app.gateway.accept(webSocket, caller, { threadId })
  })
}
