import { Type } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { commandSchemas } from '../lib/protocol/commands.ts'
import { eventPayloads } from '../lib/protocol/events.ts'
import { failures, protocolRoutes, strict, ThreadPath } from './protocol-routes.ts'

const Changes = Type.Omit(commandSchemas.update_thread.properties.payload, ['thread_id'], strict)
const Fork = Type.Omit(commandSchemas.fork_thread.properties.payload, ['thread_id'], strict)

/** One thread of the user. */
export default async function thread (app: FastifyInstance): Promise<void> {
  const routes = protocolRoutes(app)
  const { gateway, config: { maxFrameBytes: bodyLimit } } = app
  const common = { tags: ['Threads'], params: ThreadPath }
  const changed = { 200: eventPayloads.thread_updated, ...failures }

  routes.get('/v1/threads/:thread_id', {
    schema: {
      ...common,
      operationId: 'getThread',
      summary: 'A thread as it stands',
      description: 'With the position in its events, and its unfinished runs with what they have answered so far.',
      response: { 200: eventPayloads.thread_state, ...failures }
    }
  }, async ({ params }) => (await gateway.perform({ type: 'get_thread', payload: params })).payload)

  routes.patch('/v1/threads/:thread_id', {
    bodyLimit,
    schema: {
      ...common,
      operationId: 'updateThread',
      summary: 'Change title or metadata',
      description: 'What is given is changed; metadata is replaced as a whole. The user\'s connections are told `thread_updated`.',
      body: Changes,
      response: changed
    }
  }, async ({ params, body }) => (await gateway.perform({ type: 'update_thread', payload: { ...body, ...params } })).payload)

  routes.delete('/v1/threads/:thread_id', {
    schema: {
      ...common,
      operationId: 'deleteThread',
      summary: 'Delete a thread',
      description: 'Its runs are stopped, and it is hidden at once. Until it is purged it can be restored.',
      response: { 200: eventPayloads.thread_deleted, ...failures }
    }
  }, async ({ params }) => (await gateway.perform({ type: 'delete_thread', payload: params })).payload)

  routes.post('/v1/threads/:thread_id/archive', {
    schema: {
      ...common,
      operationId: 'archiveThread',
      summary: 'Put a thread away',
      description: 'It is listed under `state=archived` until a new message or a restore brings it back.',
      response: changed
    }
  }, async ({ params }) => (await gateway.perform({ type: 'archive_thread', payload: params })).payload)

  routes.post('/v1/threads/:thread_id/restore', {
    schema: {
      ...common,
      operationId: 'restoreThread',
      summary: 'Bring a thread back',
      description: 'From the archive, or from deletion as long as it is not purged.',
      response: changed
    }
  }, async ({ params }) => (await gateway.perform({ type: 'restore_thread', payload: params })).payload)

  registerFork(routes, app, bodyLimit)
}

function registerFork (routes: ReturnType<typeof protocolRoutes>, { gateway }: FastifyInstance, bodyLimit: number): void {
  routes.post('/v1/threads/:thread_id/fork', {
    bodyLimit,
    schema: {
      operationId: 'forkThread',
      tags: ['Threads'],
      summary: 'Copy a conversation into a thread of its own',
      description: 'Up to a message, or the whole visible branch. The copies have ids of their own and no runs.',
      params: ThreadPath,
      body: Fork,
      response: { 201: eventPayloads.thread_created, ...failures }
    }
  }, async ({ params, body }, reply) => {
    const { payload } = await gateway.perform({ type: 'fork_thread', payload: { ...body, ...params } })
    return await reply.code(201).header('location', `/v1/threads/${payload.thread_id}`).send(payload)
  })
}
