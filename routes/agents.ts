import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ErrorBody } from '../lib/protocol/error-body.ts'

const Agents = Type.Object({
  default: Type.String(),
  agents: Type.Array(Type.Object({ name: Type.String(), description: Type.String(), tools: Type.Array(Type.String()) }))
})

/** The agents that can be talked to. */
export default async function agents (app: FastifyInstance): Promise<void> {
  app.withTypeProvider<TypeBoxTypeProvider>().get('/v1/agents', {
    schema: {
      operationId: 'listAgents',
      tags: ['Agents'],
      summary: 'The agents of this server',
      response: { 200: Agents, '4xx': ErrorBody, '5xx': ErrorBody }
    }
  }, async () => ({
    default: app.config.defaultAgent,
    agents: app.agents.agents.map(({ name, description, tools }) => ({ name, description, tools: [...tools] }))
  }))
}
