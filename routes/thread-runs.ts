import type { FastifyInstance } from 'fastify'
import { commandSchemas } from '../lib/protocol/commands.ts'
import { eventPayloads, type ServerEvent } from '../lib/protocol/events.ts'
import { failures, protocolRoutes, ThreadPath, withClientId, withPosition } from './protocol-routes.ts'

const Message = withClientId(commandSchemas.user_message.properties.payload)
const MessageAccepted = withPosition(eventPayloads.message_accepted)
const Regeneration = withClientId(commandSchemas.regenerate.properties.payload)
const RunCreated = withPosition(eventPayloads.run_created)

/** The runs of a thread: what is going on in it, and what has been. */
export default async function threadRuns (app: FastifyInstance): Promise<void> {
  const routes = protocolRoutes(app)
  const { gateway, config: { maxFrameBytes: bodyLimit } } = app
  const common = { tags: ['Runs'], params: ThreadPath }

  routes.get('/v1/threads/:thread_id/runs', {
    schema: {
      ...common,
      operationId: 'listRuns',
      summary: 'The runs of a thread',
      description: 'Newest first.',
      querystring: commandSchemas.list_runs.properties.payload,
      response: { 200: eventPayloads.run_list, ...failures }
    }
  }, async ({ params, query }) => (await gateway.perform({ type: 'list_runs', ...params, payload: query })).payload)

  routes.post('/v1/threads/:thread_id/runs', {
    bodyLimit,
    schema: {
      ...common,
      operationId: 'createRun',
      summary: 'Send a message',
      description: 'Answered once message and run are durable; the run goes on by itself. With an `id` of the client\'s own, the same message ' +
        'can be sent again without being done twice. `position` says how many runs stand before it.',
      body: Message,
      response: { 202: MessageAccepted, ...failures }
    }
  }, async ({ params, body: { id, ...payload } }, reply) => {
    const accepted = await withPlace((also) => gateway.perform({ type: 'user_message', ...params, ...named(id), payload }, { also }))
    return await reply.code(202).send(accepted)
  })

  routes.post('/v1/threads/:thread_id/runs/regenerate', {
    bodyLimit,
    schema: {
      ...common,
      operationId: 'regenerate',
      summary: 'Answer a message once more',
      description: 'The new answer stands beside the first, on the visible branch.',
      body: Regeneration,
      response: { 202: RunCreated, ...failures }
    }
  }, async ({ params, body: { id, ...payload } }, reply) => {
    const created = await withPlace((also) => gateway.perform({ type: 'regenerate', ...params, ...named(id), payload }, { also }))
    return await reply.code(202).send(created)
  })

  routes.post('/v1/threads/:thread_id/cancel', {
    schema: {
      ...common,
      operationId: 'cancelRuns',
      summary: 'Stop everything in a thread',
      description: 'Each of the runs named still tells its end.',
      response: { 202: eventPayloads.runs_stopping, ...failures }
    }
  }, async ({ params }, reply) => {
    const { payload } = await gateway.perform({ type: 'stop_agent', ...params, payload: {} })
    return await reply.code(202).send(payload)
  })
}

function named (id: string | undefined): { readonly id?: string } {
  return id === undefined ? {} : { id }
}

/** What is answered by a run that was accepted, and its place in the queue if it has to wait. */
async function withPlace<Payload extends object> (
  perform: (also: (event: ServerEvent) => void) => Promise<{ readonly payload: Payload }>
): Promise<Payload & { position?: number }> {
  const told: ServerEvent[] = []
  const { payload } = await perform((event) => { told.push(event) })
  const queued = told.find((event): event is ServerEvent<'run_queued'> => event.type === 'run_queued')
  return queued === undefined ? payload : { ...payload, position: queued.payload.position }
}
