import fp from 'fastify-plugin'

/** Says on the terminal how to talk to the server, once it listens, and what it does where that is not everything. */
export default fp(async function greeting (app) {
  app.addHook('onListen', async () => {
    const [address] = app.addresses()
    if (address === undefined || typeof address === 'string') return // a Unix socket has no URL
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
    const url = `http://${host}:${address.port}`
    for (const line of linesFor(url, app.config.role, app.authentication.mode)) app.log.info(line)
  })
}, { name: 'greeting', fastify: '5.x', dependencies: ['config', 'authentication', 'gateway'] })

function linesFor (url: string, role: 'all' | 'gateway' | 'worker', mode: 'jwks' | 'secret' | 'development'): readonly string[] {
  if (role === 'worker') return [`Threadline executes runs, and serves nobody: only ${url}/health/live and ${url}/health/ready answer`]
  const executing = role === 'gateway' ? '; workers execute the runs' : ''
  const socket = `Threadline listens at ${url.replace('http', 'ws')}/v1/socket (subprotocol threadline.v1)${executing}`
  if (mode !== 'development') return [socket]
  return [socket, `Chat in another terminal: npm run chat -- --user alice --url ${url}`]
}
