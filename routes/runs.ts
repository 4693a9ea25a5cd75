import type { FastifyInstance } from 'fastify'
import { isThreadlineError, ThreadlineError } from '../lib/errors.ts'
import { eventPayloads } from '../lib/protocol/events.ts'
import { threadOfRun, toRunId } from '../lib/protocol/ids.ts'
import { failures, protocolRoutes, RunPath } from './protocol-routes.ts'

/** A run by its id alone, which tells its thread. */
export default async function runs (app: FastifyInstance): Promise<void> {
  const routes = protocolRoutes(app)
  const { gateway } = app
  const common = { tags: ['Runs'], params: RunPath }

  routes.get('/v1/runs/:run_id', {
    schema: {
      ...common,
      operationId: 'getRun',
      summary: 'A run',
      description: 'What became of it, or how far it has come.',
      response: { 200: eventPayloads.run_state, ...failures }
    }
  }, async ({ params }) => await inThreadOf(params.run_id, async (thread) => {
    return (await gateway.perform({ type: 'get_run', ...thread, payload: params })).payload
  }))

  routes.get('/v1/runs/:run_id/isolation', {
    schema: {
      ...common,
      operationId: 'getRunIsolation',
      summary: 'The isolation of a run',
      description: 'What this process saw of it: the hops and the identity at each, who was told of it, what the database thinks of the reader, and a verdict. It is kept in memory, for the latest runs; what was not seen makes the verdict `incomplete`.',
      response: { 200: eventPayloads.run_isolation, ...failures }
    }
  }, async ({ params }) => await inThreadOf(params.run_id, async (thread) => {
    return (await gateway.perform({ type: 'get_run_isolation', ...thread, payload: params })).payload
  }))

  routes.post('/v1/runs/:run_id/cancel', {
    schema: {
      ...common,
      operationId: 'cancelRun',
      summary: 'Stop a run',
      description: 'It still tells its end, with what it has answered so far. A run that has ended is not named in the answer.',
      response: { 202: eventPayloads.runs_stopping, ...failures }
    }
  }, async ({ params }, reply) => {
    const stopping = await inThreadOf(params.run_id, async (thread) => {
      return (await gateway.perform({ type: 'stop_agent', ...thread, payload: params })).payload
    })
    return await reply.code(202).send(stopping)
  })
}

/** Who asks for a run knows of no thread: where there is none, there is no such run. */
async function inThreadOf<T> (runId: string, ask: (thread: { readonly thread_id: string }) => Promise<T>): Promise<T> {
  try {
    return await ask({ thread_id: threadOfRun(toRunId(runId)) })
  } catch (error) {
    throw isThreadlineError(error, 'THREADLINE_THREAD_NOT_FOUND') ? new ThreadlineError('THREADLINE_RUN_NOT_FOUND') : error
  }
}
