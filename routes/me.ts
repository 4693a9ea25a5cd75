import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ErrorBody } from '../lib/protocol/error-body.ts'

const Me = Type.Object({
  user_id: Type.String(),
  token_expires_at: Type.String({ format: 'date-time' })
})

/** Who the server takes the caller for. */
export default async function me (app: FastifyInstance): Promise<void> {
  app.withTypeProvider<TypeBoxTypeProvider>().get('/v1/me', {
    schema: {
      operationId: 'getMe',
      tags: ['Account'],
      summary: 'The authenticated user',
      response: { 200: Me, '4xx': ErrorBody, '5xx': ErrorBody }
    }
  }, async ({ caller }) => ({ user_id: caller.userId, token_expires_at: caller.expiresAt.toISOString() }))
}
