import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ErrorBody } from '../lib/protocol/error-body.ts'
import { toUserId } from '../lib/protocol/ids.ts'

const TokenRequest = Type.Object({
  user_id: Type.String({ minLength: 1, maxLength: 128 }),
  expires_in_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400, default: 3600 }))
}, { additionalProperties: false })

const Token = Type.Object({
  token: Type.String(),
  user_id: Type.String(),
  expires_at: Type.String({ format: 'date-time' })
})

/** Signs a token for any user. The route exists in development mode only. */
export default async function developmentTokens (app: FastifyInstance): Promise<void> {
  const { developmentTokens } = app.authentication
  if (developmentTokens === undefined) return

  app.withTypeProvider<TypeBoxTypeProvider>().post('/v1/dev/tokens', {
    config: { public: true },
    schema: {
      operationId: 'createDevelopmentToken',
      tags: ['Account'],
      summary: 'A token for development',
      description: 'Exists only where the server has no keys of its own, and then serves this machine only.',
      body: TokenRequest,
      response: { 201: Token, '4xx': ErrorBody, '5xx': ErrorBody }
    }
  }, async ({ body }, reply) => {
    const userId = toUserId(body.user_id)
    const { token, expiresAt } = await developmentTokens.sign({ userId, expiresInSeconds: body.expires_in_seconds })
    return await reply.code(201).header('cache-control', 'no-store').send({ token, user_id: userId, expires_at: expiresAt.toISOString() })
  })
}
