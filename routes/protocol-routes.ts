import { Type, TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import type { TObject, TProperties } from 'typebox'
import { commandSchemas } from '../lib/protocol/commands.ts'
import { ErrorBody } from '../lib/protocol/error-body.ts'
import { eventPayloads } from '../lib/protocol/events.ts'

/** What names the thread or the run in an address. */
export const ThreadPath = commandSchemas.get_thread.properties.payload
export const RunPath = commandSchemas.get_run.properties.payload

/** How every request can be refused. */
export const failures = { '4xx': ErrorBody, '5xx': ErrorBody } as const

export const strict = { additionalProperties: false } as const

/** The payload of a command that starts a run, with the client's own id beside it, which a socket has in the frame. */
export function withClientId<Properties extends TProperties> (payload: TObject<Properties>) {
  return Type.Object({ ...payload.properties, id: commandSchemas.user_message.properties.id }, strict)
}

/** The payload that says that a run is accepted, with the run's place in the queue where it has to wait. */
export function withPosition<Properties extends TProperties> (payload: TObject<Properties>) {
  return Type.Object({ ...payload.properties, position: Type.Optional(eventPayloads.run_queued.properties.position) })
}

/**
 * Routes that say what commands and events say, in the same schemas: a body is checked as strictly as a frame, numbers in an address are
 * read as such, an absent body is an empty one, and an answer has the very JSON of the event.
 */
export function protocolRoutes (app: FastifyInstance) {
  app.addHook('preValidation', async (request) => { request.body ??= {} })
  return app.withTypeProvider<TypeBoxTypeProvider>()
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .setSerializerCompiler(() => JSON.stringify)
}
