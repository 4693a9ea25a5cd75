import { once } from 'node:events'
import { createServer } from 'node:http'
import { networkInterfaces } from 'node:os'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import developmentTokens from '../../routes/development-tokens.ts'
import me from '../../routes/me.ts'
import { buildServer, http, openSocket, secretEnvironment, startServer } from '../support/authentication.ts'

const env = {}

function routes (app: FastifyInstance): void {
  app.register(developmentTokens)
  app.register(me)
  app.get('/socket', { websocket: true, config: { socket: true } }, (socket, { caller }) => { socket.send(JSON.stringify(caller.userId)) })
}

const refusal = (code: string) => ({ error: { code, message: /./, request_id: /^[0-9a-f-]{36}$/ } })

async function developmentToken (origin: string, body: unknown): Promise<string> {
  const answer = await http(`${origin}/v1/dev/tokens`, { method: 'POST', body })
  return (answer.body as { token: string }).token // the route's schema
}

t.test('without keys the server signs tokens for whoever asks, and says so in its log', async (t) => {
  const { origin, log } = await startServer(t, { env, routes })

  const answer = await http(`${origin}/v1/dev/tokens`, { method: 'POST', body: { user_id: 'alice', expires_in_seconds: 60 } })

  t.match(answer, { status: 201, headers: { 'cache-control': 'no-store' }, body: { token: /^eyJ/, user_id: 'alice', expires_at: /Z$/ } })
  t.match(log(), /"level":40.*Development mode/)
  t.notMatch(log(), /eyJ/)
})

t.test('H100 a development token is a token like any other', async (t) => {
  const { origin } = await startServer(t, { env, routes })
  const token = await developmentToken(origin, { user_id: 'alice' })

  const handshake = await openSocket(t, `${origin}/socket`, { subprotocols: ['threadline.v1', `bearer.${token}`] })

  t.match(await http(`${origin}/v1/me`, { token }), { status: 200, body: { user_id: 'alice' } })
  t.equal(handshake.open && await handshake.firstMessage, 'alice')
})

t.test('H101 a token of another server in development mode is refused', async (t) => {
  const [one, other] = [await startServer(t, { env, routes }), await startServer(t, { env, routes })]

  const token = await developmentToken(one.origin, { user_id: 'alice' })

  t.match(await http(`${other.origin}/v1/me`, { token }), { status: 401 })
})

t.test('a development token is signed for a well-formed user only', async (t) => {
  const { origin } = await startServer(t, { env, routes })

  for (const body of [{}, { user_id: '' }, { user_id: ' alice' }, { user_id: 'a\u0000' }, { user_id: 'x'.repeat(129) }, { user_id: 'alice', expires_in_seconds: 0 }]) {
    t.match(await http(`${origin}/v1/dev/tokens`, { method: 'POST', body }), { status: 400 }, JSON.stringify(body))
  }
})

t.test('with keys there is no route that signs tokens', async (t) => {
  const { app, origin, log } = await startServer(t, { env: secretEnvironment, routes })

  const answer = await http(`${origin}/v1/dev/tokens`, { method: 'POST', body: { user_id: 'alice' } })

  t.match(answer, { status: 404, body: refusal('THREADLINE_NOT_FOUND') })
  t.equal(app.authentication.developmentTokens, undefined)
  t.notMatch(log(), /Development mode/)
})

t.test('development mode does not start with a host that others can reach', async (t) => {
  for (const HOST of ['0.0.0.0', '::', '10.0.0.1', 'chat.example']) {
    const { app } = await buildServer(t, { env: { HOST } })
    await t.rejects(async () => { await app.ready() }, { code: 'THREADLINE_INVALID_CONFIGURATION', field: 'HOST' }, HOST)
  }
  for (const HOST of ['localhost', '::1', '127.0.0.2']) {
    const { app } = await buildServer(t, { env: { HOST } })
    await t.resolves(async () => { await app.ready() }, HOST)
  }
})

for (const encapsulated of [false, true]) {
  t.test(`development mode ends the server when it was bound to an address that others can reach, ${encapsulated ? 'also inside of an application' : 'at the root'}`, async (t) => {
    const { app, log } = await buildServer(t, { env, encapsulated })
    const closed = new Promise<void>((resolve) => { app.addHook('onClose', async () => { resolve() }) })

    await app.listen({ port: 0, host: '0.0.0.0' })
    await closed

    t.equal(process.exitCode, 1)
    t.match(log(), /"level":60.*must not be reachable/)
    process.exitCode = undefined
  })
}

t.test('development mode listens on every loopback address of localhost', async (t) => {
  const { app, log } = await startServer(t, { env, listenHost: 'localhost' })

  t.ok(app.server.listening)
  t.notMatch(log(), /"level":60/)
})

const outside = Object.values(networkInterfaces()).flat().find((address) => address?.family === 'IPv4' && !address.internal)?.address

t.test('development mode answers nobody who reached it by another address', { skip: outside === undefined && 'no other address' }, async (t) => {
  const { app } = await buildServer(t, { env, routes })
  await app.ready()
  const server = createServer((request, response) => { app.routing(request, response) })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  t.teardown(() => { server.close(); server.closeAllConnections() })
  const { port } = server.address() as AddressInfo // it listens on a port
  const headers = { host: 'localhost' }
  const ask = async (address: string) => await http(`http://${address}:${port}/v1/dev/tokens`, { method: 'POST', headers, body: { user_id: 'alice' } })

  t.match(await ask(outside ?? ''), { status: 403, body: refusal('THREADLINE_FORBIDDEN_ORIGIN') })
  t.match(await ask('127.0.0.1'), { status: 201 })
})

t.test('development mode answers no page that has made its own name point to this machine', async (t) => {
  const { origin, port } = await startServer(t, { env, routes })
  const ask = async (headers: Record<string, string>) => await http(`${origin}/v1/dev/tokens`, { method: 'POST', headers, body: { user_id: 'alice' } })
  const token = await developmentToken(origin, { user_id: 'alice' })

  for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', 'localhost@evil.example', '10.0.0.1', ' ', '[']) {
    t.match(await ask({ host }), { status: 403, body: refusal('THREADLINE_FORBIDDEN_ORIGIN') }, host)
  }
  for (const foreign of ['http://evil.example', 'null', `http://localhost.evil.example:${port}`]) {
    t.match(await ask({ origin: foreign }), { status: 403 }, foreign)
    t.match(await openSocket(t, `${origin}/socket`, { headers: { authorization: `Bearer ${token}`, origin: foreign } }), { open: false, status: 403 })
  }
  for (const headers of [{ host: 'localhost' }, { host: `[::1]:${port}` }, { origin: 'http://localhost:5173' }]) {
    t.match(await ask(headers), { status: 201 }, JSON.stringify(headers))
  }
})
