import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ErrorBody } from '../lib/protocol/error-body.ts'

const Ticket = Type.Object({
  ticket: Type.String({ description: 'Opens one socket: /v1/socket?ticket=…' }),
  expires_at: Type.String({ format: 'date-time' })
})

/** Buys a ticket for a socket whose client cannot set headers or offer subprotocols. */
export default async function tickets (app: FastifyInstance): Promise<void> {
  app.withTypeProvider<TypeBoxTypeProvider>().post('/v1/tickets', {
    schema: {
      operationId: 'createTicket',
      tags: ['Account'],
      summary: 'A single-use ticket for one socket',
      response: { 201: Ticket, '4xx': ErrorBody, '5xx': ErrorBody }
    }
  }, async ({ caller }, reply) => {
    await app.gateway.count()
    const { ticket, expiresAt } = await app.authentication.tickets.issue(caller.expiresAt)
    return await reply.code(201).header('cache-control', 'no-store').send({ ticket, expires_at: expiresAt.toISOString() })
  })
}
