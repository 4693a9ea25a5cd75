import { Type, type Static } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ThreadlineError } from '../lib/errors.ts'
import { commandSchemas } from '../lib/protocol/commands.ts'
import { eventIdPattern, parseEventId } from '../lib/protocol/event-stream.ts'
import { Handshake } from '../lib/protocol/handshake.ts'
import { toThreadId } from '../lib/protocol/ids.ts'
import { failures, protocolRoutes, ThreadPath, withClientId } from './protocol-routes.ts'

const Position = Type.Pick(Handshake, ['after', 'epoch'])
const LastEventId = Type.Object({
  'last-event-id': Type.Optional(Type.String({
    pattern: eventIdPattern, description: 'The `id` of the last event that was seen: what came after it is sent first. Wins over the address'
  }))
})
const OnDisconnect = Type.Union([Type.Literal('continue'), Type.Literal('cancel')], {
  description: 'What becomes of the run when its reader leaves before it has ended: it goes on (default), or is stopped'
})
const { properties: message } = withClientId(commandSchemas.user_message.properties.payload)
const StreamedMessage = Type.Object({ ...message, on_disconnect: Type.Optional(OnDisconnect) }, { additionalProperties: false })

const stream = {
  description: 'One event each, as over the socket: `event` is its type, `data` the event as JSON, `id` the place to come back to. Comments keep the ' +
    'stream alive. A stream that the server ends before it is complete says why: `event: close`, `data: {"code", "reason"}` as of a socket.',
  content: { 'text/event-stream': { schema: Type.String() } }
}

/** The same events as over the socket, for clients that only listen. */
export default async function eventStreams (app: FastifyInstance): Promise<void> {
  const routes = protocolRoutes(app)
  const { gateway, storage, config: { maxFrameBytes: bodyLimit } } = app
  const common = { tags: ['Chat'], params: ThreadPath }

  routes.get('/v1/threads/:thread_id/events', {
    exposeHeadRoute: false,
    schema: {
      ...common,
      operationId: 'followThread',
      summary: 'Follow a thread',
      description: 'From now on, or from where a reader was: with `Last-Event-ID`, as an `EventSource` sends it by itself, or `after` and `epoch`. Then ' +
        'come what was missed and `resumed`, or `resync_required` with how the thread stands.',
      querystring: Position,
      headers: LastEventId,
      response: { 200: stream, ...failures }
    },
    preHandler: async ({ params }) => {
      gateway.admit()
      await storage.threads.require(toThreadId(params.thread_id))
    }
  }, async ({ caller, params, query, headers }, reply) => {
    const position = positionOf(headers['last-event-id'], query)
    await reply.eventStream((response) => gateway.followThread(response, caller, { threadId: toThreadId(params.thread_id), position }))
  })

  routes.post('/v1/threads/:thread_id/runs/stream', {
    bodyLimit,
    schema: {
      ...common,
      operationId: 'streamRun',
      summary: 'Send a message, and follow its run',
      description: 'The stream is complete with the run\'s `agent_completed`. With an `id` of the client\'s own, a message that is sent again is not ' +
        'done twice: the run that it has is told from its first event.',
      body: StreamedMessage,
      response: { 200: stream, ...failures }
    }
  }, async ({ caller, params, body: { id, on_disconnect: onDisconnect = 'continue', ...payload } }, reply) => {
    const command = { type: 'user_message', ...params, ...(id === undefined ? {} : { id }), payload } as const
    await reply.eventStream((response) => gateway.streamRun(response, caller, { threadId: toThreadId(params.thread_id), command, onDisconnect }))
  })
}

/** What the reader has seen. The header is newer than the address, to which an `EventSource` comes back. */
function positionOf (lastEventId: string | undefined, { after, epoch }: Static<typeof Position>): { after: number, epoch: string } | undefined {
  if (lastEventId !== undefined && lastEventId !== '') {
    const position = parseEventId(lastEventId)
    if (position !== undefined) return position
    throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'Last-Event-ID is not the id of an event')
  }
  if (after === undefined && epoch === undefined) return undefined
  if (after !== undefined && epoch !== undefined) return { after, epoch }
  throw new ThreadlineError('THREADLINE_BAD_REQUEST', 'after and epoch go together')
}
