import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ThreadlineError } from '../lib/errors.ts'
import { ErrorBody } from '../lib/protocol/error-body.ts'
import { Handshake } from '../lib/protocol/handshake.ts'
import { toConnectionId, toThreadId } from '../lib/protocol/ids.ts'

const Opened = Type.Null({ description: 'The socket is open, and speaks the subprotocol threadline.v1' })

/**
 * The socket of the chat. Everything that can refuse it is asked before the upgrade, so that the refusal is an answer: the token, the
 * origin, the user's limit, and the thread, which is unknown to whoever does not own it.
 */
export default async function socket (app: FastifyInstance): Promise<void> {
  app.withTypeProvider<TypeBoxTypeProvider>().route({
    method: 'GET',
    url: '/v1/socket',
    config: { socket: true },
    schema: {
      operationId: 'openSocket',
      tags: ['Chat'],
      summary: 'Chat over WebSocket',
      description: 'What is said on the socket, and how a browser authenticates, is told by [/v1/asyncapi.json](/v1/asyncapi.json).',
      security: [{ bearer: [] }, { ticket: [] }],
      querystring: Handshake,
      response: { 101: Opened, '4xx': ErrorBody, '5xx': ErrorBody }
    },
    preHandler: async ({ query }) => {
      positionOf(query)
      app.gateway.admit(query.replaces === undefined ? undefined : toConnectionId(query.replaces))
      if (query.thread_id !== undefined) await app.storage.threads.require(toThreadId(query.thread_id))
    },
    handler: async () => { throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'This address is for a WebSocket') },
    wsHandler: (webSocket, { caller, query }) => {
      const threadId = query.thread_id === undefined ? undefined : toThreadId(query.thread_id)
      app.gateway.accept(webSocket, caller, { threadId, position: positionOf(query) })
    }
  })
}

/** What the client has seen of the thread. Throws `THREADLINE_BAD_REQUEST` for half of it, and where no thread is named. */
function positionOf ({ thread_id: threadId, after, epoch }: Handshake): { after: number, epoch: string } | undefined {
  if (after === undefined && epoch === undefined) return undefined
  if (threadId !== undefined && after !== undefined && epoch !== undefined) return { after, epoch }
  throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'after and epoch go together, and with thread_id')
}
