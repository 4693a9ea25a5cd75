import type { FastifyInstance } from 'fastify'
import { commandSchemas } from '../lib/protocol/commands.ts'
import { eventPayloads } from '../lib/protocol/events.ts'
import { failures, protocolRoutes, ThreadPath } from './protocol-routes.ts'

/** The messages of a thread, which are a tree with one visible branch. */
export default async function messages (app: FastifyInstance): Promise<void> {
  const routes = protocolRoutes(app)
  const { gateway, config: { maxFrameBytes: bodyLimit } } = app

  routes.get('/v1/threads/:thread_id/messages', {
    schema: {
      operationId: 'listMessages',
      tags: ['Threads'],
      summary: 'The messages of a thread',
      description: 'Oldest first: the newest 50 of the visible branch, or with `before` those on the way to a message.',
      params: ThreadPath,
      querystring: commandSchemas.get_thread_history.properties.payload,
      response: { 200: eventPayloads.thread_history, ...failures }
    }
  }, async ({ params, query }) => (await gateway.perform({ type: 'get_thread_history', ...params, payload: query })).payload)

  routes.post('/v1/threads/:thread_id/branch', {
    bodyLimit,
    schema: {
      operationId: 'selectBranch',
      tags: ['Threads'],
      summary: 'Show another branch',
      description: 'The newest one that leads through the message. Connections in the thread are told `branch_selected`.',
      params: ThreadPath,
      body: commandSchemas.select_branch.properties.payload,
      response: { 200: eventPayloads.branch_selected, ...failures }
    }
  }, async ({ params, body }) => (await gateway.perform({ type: 'select_branch', ...params, payload: body })).payload)
}
