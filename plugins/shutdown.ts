import fp from 'fastify-plugin'

/** How long requests that are being answered may still take when the server closes. */
const requestGraceMs = 2_000

/**
 * Lets no request keep the server from closing: what is not answered in time is cut off, also a request that was begun and never
 * finished. Sockets have their own goodbye, in the gateway.
 */
export default fp(async function shutdown (app) {
  let timer: NodeJS.Timeout | undefined
  app.addHook('preClose', async () => {
    timer = setTimeout(() => { app.server.closeAllConnections() }, requestGraceMs)
  })
  app.addHook('onClose', async () => { clearTimeout(timer) })
}, { name: 'shutdown', fastify: '5.x' })
