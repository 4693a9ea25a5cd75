import fp from 'fastify-plugin'

/** Says on the terminal how to talk to the server, once it listens. */
export default fp(async function greeting (app) {
  app.addHook('onListen', async () => {
    const [address] = app.addresses()
    if (address === undefined || typeof address === 'string') return // a Unix socket has no URL
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
    const url = `http://${host}:${address.port}`
    for (const line of linesFor(url, app.authentication.mode)) app.log.info(line)
  })
}, { name: 'greeting', fastify: '5.x', dependencies: ['authentication', 'gateway'] })

function linesFor (url: string, mode: 'jwks' | 'secret' | 'development'): readonly string[] {
  const socket = `Threadline listens at ${url.replace('http', 'ws')}/v1/socket (subprotocol threadline.v1)`
  if (mode !== 'development') return [socket]
  return [socket, `Chat in another terminal: npm run chat -- --user alice --url ${url}`]
}
