import { answers } from './answers.ts'
import { closeCodes, type CloseReason } from './close-codes.ts'
import { commandExample, commandGuide } from './command-guide.ts'
import { commandSchemas, commandTypes, type CommandType } from './commands.ts'
import { eventExample, eventGuide } from './event-guide.ts'
import { eventSchemas, eventTypes, runEventTypes, type EventType } from './events.ts'
import { Handshake } from './handshake.ts'
import { namedSchemas, referToComponents } from './named-schemas.ts'

/** What a client does that was closed for this reason. */
const closeAdvice: { readonly [Reason in CloseReason]: string } = {
  drain: 'the server shuts down: connect again and resume',
  badFrame: 'a bug of the client: a frame was not text',
  notAuthenticated: 'the token has expired: connect again with a new one',
  idle: 'nothing was said for too long: connect when there is something to say',
  replaced: 'the client has come back by another connection, which named this one: there is nothing to do',
  tooLarge: 'a frame was too large',
  limits: 'too many connections: connect again when one is closed',
  internal: 'connect again and resume',
  notReady: 'connect again and resume',
  slowConsumer: 'the client did not read what it was sent: connect again and resume'
}

const description = `One JSON object in each text frame, in both directions, on the WebSocket subprotocol \`threadline.v1\`.

A client authenticates in the handshake, by \`Authorization: Bearer <token>\`, by offering the token as a second subprotocol \`bearer.<token>\`
(which is not chosen), or by \`?ticket=<ticket>\` of \`POST /v1/tickets\`. What is refused before the upgrade is answered as over HTTP.

A command is answered by the event that its operation names, or by \`error\`; \`reply_to\` is the command's \`id\`. The events of runs have a
\`sequence\`, by which they can be had again (\`resume\`, or \`after\` and \`epoch\` in the handshake). Unknown fields and types are to be ignored: there will be more.

A socket is closed with one of these codes:

| Code | Reason | What to do |
|---|---|---|
${Object.entries(closeCodes).map(([reason, code]) => `| ${code} | \`${reason}\` | ${closeAdvice[reason as CloseReason]} |`).join('\n')}
| 1009 | | a frame above 1 MiB was not even read |`

export interface AsyncApiInfo {
  readonly title: string
  readonly version: string
  readonly license: { readonly name: string, readonly url: string }
  /** Where the service is reached, as far as it knows itself: host and port. */
  readonly host: string
}

/** The contract of the socket as an AsyncAPI 3.0 document, made of the schemas by which commands are checked and events are typed. */
export function createAsyncApi ({ host, ...info }: AsyncApiInfo): Record<string, unknown> {
  return referToComponents({
    asyncapi: '3.0.0',
    id: 'urn:threadline:socket:v1',
    info: { ...info, description },
    defaultContentType: 'application/json',
    servers: {
      service: {
        host: '{host}',
        protocol: 'wss',
        description: 'This service; ws where it is served without TLS',
        variables: { host: { default: host, description: 'Host and port' } },
        security: [{ $ref: '#/components/securitySchemes/bearer' }, { $ref: '#/components/securitySchemes/ticket' }]
      }
    },
    channels: { socket },
    operations: { ...Object.fromEntries(commandTypes.map((type) => [type, carryOut(type)])), ...told },
    components: {
      schemas: namedSchemas,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'As header, or as the subprotocol `bearer.<token>`' },
        ticket: { type: 'httpApiKey', in: 'query', name: 'ticket', description: 'Of `POST /v1/tickets`, good for one connection' }
      }
    }
  })
}

const socket = {
  address: '/v1/socket',
  title: 'The socket of the chat',
  description: 'A connection is in at most one thread at a time, which a command can change. Its first event is `connection_established`.',
  servers: [{ $ref: '#/servers/service' }],
  messages: {
    ...Object.fromEntries(commandTypes.map((type) => [`command.${type}`, {
      name: type,
      title: type,
      summary: commandGuide[type].summary,
      payload: commandSchemas[type],
      examples: [{ name: type, summary: commandGuide[type].summary, payload: commandExample(type) }]
    }])),
    ...Object.fromEntries(eventTypes.map((type) => [`event.${type}`, {
      name: type,
      title: type,
      summary: eventGuide[type].summary,
      payload: eventSchemas[type],
      examples: [{ name: type, summary: eventGuide[type].summary, payload: eventExample(type) }]
    }]))
  },
  bindings: {
    ws: {
      method: 'GET',
      query: Handshake,
      headers: {
        type: 'object',
        required: ['sec-websocket-protocol'],
        properties: {
          authorization: { type: 'string', description: '`Bearer <token>`' },
          'sec-websocket-protocol': { type: 'string', description: '`threadline.v1`, and `bearer.<token>` where no other header can be set' }
        }
      },
      bindingVersion: '0.1.0'
    }
  }
}

const channel = { $ref: '#/channels/socket' }
const event = (type: EventType) => ({ $ref: `#/channels/socket/messages/event.${type}` })

function carryOut (type: CommandType) {
  return {
    action: 'receive',
    title: type,
    summary: commandGuide[type].summary,
    channel,
    messages: [{ $ref: `#/channels/socket/messages/command.${type}` }],
    reply: { channel, messages: [...answers[type], 'error' as const].map(event) }
  }
}

/** What is told without being an answer. */
const told = {
  'tell.connection': tell('What concerns the connection itself', ['connection_established', 'resumed', 'resync_required', 'token_expiring', 'error']),
  'tell.run': tell('What a run tells its thread: each of these is kept, and has a sequence', runEventTypes),
  'tell.queue': tell('A run has to wait', ['run_queued']),
  'tell.others': tell('What other connections of the user have done', [
    'thread_created', 'thread_updated', 'thread_deleted', 'branch_selected', 'typing', 'presence'
  ])
}

function tell (summary: string, types: readonly EventType[]) {
  return { action: 'send', summary, channel, messages: types.map(event) }
}
