import type { FastifyInstance, FastifyRequest } from 'fastify'
import t from 'tap'
import { mismatchesOfAnswer, mismatchesOfEvent } from './conformance.ts'

/**
 * Watches everything that the servers of a test program send, and fails the program at its end when something did not match the contract. Whoever
 * opens a socket or a stream, or starts a server, with the support of this folder is watched.
 */

const mismatches = new Set<string>()
const shownMismatches = 20

t.teardown(() => {
  if (mismatches.size === 0) return
  throw new Error(`What was sent does not match the contract:\n${[...mismatches].slice(0, shownMismatches).join('\n')}`)
})

export function checkEvent (event: unknown): void {
  note(mismatchesOfEvent(event))
}

/**
 * Compares each answer of JSON twice: what the handler returned, of which the serialiser drops what the schema does not name, and what is sent. Has
 * to be called before the routes are registered.
 */
export function watchAnswers (app: FastifyInstance): void {
  app.addHook('preSerialization', async (request, reply, payload) => {
    const { hide } = request.routeOptions.schema ?? {}
    if (hide !== true) checkAnswer(request, reply.statusCode, 'returned', JSON.stringify(payload))
    return payload
  })
  app.addHook('onSend', async (request, reply, payload) => {
    const { hide } = request.routeOptions.schema ?? {}
    const isJson = String(reply.getHeader('content-type')).startsWith('application/json')
    if (hide !== true && isJson && typeof payload === 'string') checkAnswer(request, reply.statusCode, 'sent', payload)
    return payload
  })
}

function checkAnswer (request: FastifyRequest, status: number, what: string, json: string): void {
  const { url, schema } = request.routeOptions
  const responses = url === undefined ? undefined : schema?.response as Readonly<Record<string, unknown>> | undefined ?? {} // Fastify's own form
  note(mismatchesOfAnswer({ where: `${request.method} ${url ?? 'nowhere'} ${status} ${what}`, status, responses, body: JSON.parse(json) }))
}

function note (found: readonly string[]): void {
  for (const mismatch of found) mismatches.add(mismatch)
}
