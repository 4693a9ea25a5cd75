import type { ServerResponse } from 'node:http'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyReply {
    /**
     * Answers with what `begin` writes to the response, for as long as it takes. When `begin` throws, nothing is written, and the error is answered
     * like any other. Headers that were set before are kept.
     */
    eventStream (begin: (response: ServerResponse) => Promise<void>): Promise<void>
  }
}

/** Gives the response to whoever writes a stream of events to it, past Fastify's own reply; see the decision record on event streams. */
export default fp(async function eventStreams (app) {
  app.decorateReply('eventStream', async function (begin) {
    for (const [name, value] of Object.entries(this.getHeaders())) if (value !== undefined) this.raw.setHeader(name, value)
    await begin(this.raw)
    this.hijack()
  })
}, { name: 'event-streams', fastify: '5.x' })
