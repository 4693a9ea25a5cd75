import type { FastifyInstance } from 'fastify'
import { commandSchemas } from '../lib/protocol/commands.ts'
import { eventPayloads } from '../lib/protocol/events.ts'
import { failures, protocolRoutes } from './protocol-routes.ts'

/** The user's threads. */
export default async function threads (app: FastifyInstance): Promise<void> {
  const routes = protocolRoutes(app)
  const { gateway, config: { maxFrameBytes: bodyLimit } } = app
  const common = { tags: ['Threads'] }

  routes.post('/v1/threads', {
    bodyLimit,
    schema: {
      ...common,
      operationId: 'createThread',
      summary: 'Make a thread',
      description: 'It is empty, and has a title only if one is given. The user\'s connections are told `thread_created`.',
      body: commandSchemas.create_thread.properties.payload,
      response: { 201: eventPayloads.thread_created, ...failures }
    }
  }, async ({ body }, reply) => {
    const { payload } = await gateway.perform({ type: 'create_thread', payload: body })
    return await reply.code(201).header('location', `/v1/threads/${payload.thread_id}`).send(payload)
  })

  routes.get('/v1/threads', {
    schema: {
      ...common,
      operationId: 'listThreads',
      summary: 'The threads of the user',
      description: 'The one that was last written to first. `next_cursor` asks for the next page, which a thread that is written to meanwhile does not shift.',
      querystring: commandSchemas.list_threads.properties.payload,
      response: { 200: eventPayloads.thread_list, ...failures }
    }
  }, async ({ query }) => (await gateway.perform({ type: 'list_threads', payload: query })).payload)

  routes.get('/v1/threads/search', {
    schema: {
      ...common,
      operationId: 'searchThreads',
      summary: 'Search in titles and messages',
      description: 'Each thread that matches once, the best match first, archived ones among them.',
      querystring: commandSchemas.search_threads.properties.payload,
      response: { 200: eventPayloads.search_results, ...failures }
    }
  }, async ({ query }) => (await gateway.perform({ type: 'search_threads', payload: query })).payload)
}
