import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ErrorBody } from '../lib/protocol/error-body.ts'

const OpenApi = Type.Object({ openapi: Type.String() }, { additionalProperties: true, description: 'An OpenAPI 3.1 document' })
const AsyncApi = Type.Object({ asyncapi: Type.String() }, { additionalProperties: true, description: 'An AsyncAPI 3.0 document' })

/** What this server serves, for tools. The page for people is at /v1/docs. */
export default async function contracts (app: FastifyInstance): Promise<void> {
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()
  const errors = { '4xx': ErrorBody, '5xx': ErrorBody }

  typed.get('/v1/openapi.json', {
    config: { public: true },
    schema: { operationId: 'getOpenApi', tags: ['Service'], summary: 'HTTP, as OpenAPI', response: { 200: OpenApi, ...errors } }
  }, async () => app.contracts.openApi() as { openapi: string }) // each document begins with its version
  typed.get('/v1/asyncapi.json', {
    config: { public: true },
    schema: { operationId: 'getAsyncApi', tags: ['Service'], summary: 'The socket, as AsyncAPI', response: { 200: AsyncApi, ...errors } }
  }, async () => app.contracts.asyncApi as { asyncapi: string })
}
