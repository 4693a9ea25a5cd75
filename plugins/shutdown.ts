import fp from 'fastify-plugin'
import { ThreadlineError } from '../lib/errors.ts'

/** How long requests that are being answered may still take when the server closes. */
const requestGraceMs = 2_000

/**
 * Lets no request keep the server from closing: a new one is refused, and what is not answered in time is cut off, also a request that was
 * begun and never finished. Sockets have their own goodbye, in the gateway. Takes the place of Fastify's option `return503OnClosing`, whose
 * answer is in no contract.
 */
export default fp(async function shutdown (app) {
  let timer: NodeJS.Timeout | undefined
  let closing = false
  app.addHook('onRequest', (_request, _reply, done) => { done(closing ? new ThreadlineError('THREADLINE_SHUTTING_DOWN') : undefined) })
  app.addHook('preClose', async () => {
    closing = true
    timer = setTimeout(() => { app.server.closeAllConnections() }, requestGraceMs)
  })
  app.addHook('onClose', async () => { clearTimeout(timer) })
}, { name: 'shutdown', fastify: '5.x', dependencies: ['request-id', 'errors'] })
