/**
 * What `fastify start` is told, from the environment instead of flags, so that `.env` and `npm start -- -p 4000` both work.
 * A flag wins over a value here.
 */

/** Loopback unless told: fastify-cli would listen on every address where it believes itself in a container. */
export const address = process.env['HOST'] ?? '127.0.0.1'
export const port = Number(process.env['PORT'] ?? 3000)
export const logLevel = process.env['LOG_LEVEL'] ?? 'info'
export const prettyLogs = process.stdout.isTTY

/** In ms. The first start of the embedded database is slow on a small machine; fastify-cli's 10 s would end it. */
export const pluginTimeout = 60_000

/** In ms. What draining the sockets, ending the runs and flushing the spans may take together. */
export const closeGraceDelay = 10_000

/** Passes the `options` that `app.ts` exports to the Fastify constructor. */
export const options = true
