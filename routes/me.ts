import { Type } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { failures, protocolRoutes } from './protocol-routes.ts'

const Count = Type.Integer({ minimum: 0 })

const Me = Type.Object({
  user_id: Type.String(),
  token_expires_at: Type.String({ format: 'date-time' }),
  usage: Type.Object({
    threads: Count,
    messages: Count,
    runs: Count,
    models: Type.Array(Type.Object({ model: Type.String(), input_tokens: Count, output_tokens: Count }))
  }, { description: 'What is kept of the user, and the tokens of everything that models were asked in the user\'s name' })
})

const Erased = Type.Object({ threads: Count, messages: Count, runs: Count, events: Count }, { description: 'What was erased' })

/** Who the server takes the caller for, and what it keeps of them. */
export default async function me (app: FastifyInstance): Promise<void> {
  const routes = protocolRoutes(app)

  routes.get('/v1/me', {
    schema: {
      operationId: 'getMe',
      tags: ['Account'],
      summary: 'The authenticated user',
      response: { 200: Me, ...failures }
    }
  }, async ({ caller }) => {
    await app.gateway.count()
    const { threads, messages, runs, models } = await app.storage.account.usage()
    return {
      user_id: caller.userId,
      token_expires_at: caller.expiresAt.toISOString(),
      usage: {
        threads,
        messages,
        runs,
        models: models.map(({ model, inputTokens, outputTokens }) => ({ model, input_tokens: inputTokens, output_tokens: outputTokens }))
      }
    }
  })

  routes.delete('/v1/me', {
    schema: {
      operationId: 'eraseMe',
      tags: ['Account'],
      summary: 'Erase everything of the user',
      description: 'Runs are stopped, every thread, message, run, event and ticket is removed at once and for good, and all connections are ' +
        'closed with 4401.',
      response: { 200: Erased, ...failures }
    }
  }, async () => await app.gateway.eraseUser())
}
