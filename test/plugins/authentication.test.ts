import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { context, propagation, SpanKind, trace } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { currentIdentity, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import me from '../../routes/me.ts'
import tickets from '../../routes/tickets.ts'
import {
  createSigningKey, http, inSeconds, issuer, audience, openSocket, signToken, startKeyServer, startServer, unused, type Handshake
} from '../support/authentication.ts'
import { collectSpans } from '../support/spans.ts'

/** The routes of most tests: a socket that tells whom it serves, and HTTP routes that do. */
function routes (app: FastifyInstance): void {
  app.register(me)
  app.register(tickets)
  app.get('/socket', { websocket: true, config: { socket: true } }, (socket, { caller }) => {
    connected.push(caller.userId)
    socket.send(JSON.stringify({ user_id: caller.userId, expires_at: caller.expiresAt.toISOString() }))
  })
  app.get('/identity', async () => identity())
  app.post('/identity', async ({ body, caller }) => ({ ...identity(), caller: caller.userId, body }))
  app.get('/public/identity', async () => identity())
  app.get('/anybody', { config: { public: true } }, async () => ({ identity: tryCurrentIdentity() ?? null }))
  app.get('/caller-of-nobody', { config: { public: true } }, async ({ caller }) => caller.userId)
}

let connected: string[] = []
t.beforeEach(() => { connected = [] })

function identity () {
  const { userId, requestId, threadId } = currentIdentity()
  return { user_id: userId, request_id: requestId, thread_id: threadId ?? null }
}

const refusal = (code: string) => ({ error: { code, message: /./, request_id: /^[0-9a-f-]{36}$/ } })

async function firstMessage (handshake: Handshake): Promise<unknown> {
  if (!handshake.open) throw new Error(`refused: ${JSON.stringify(handshake.body)}`)
  return await handshake.firstMessage
}

async function buyTicket (origin: string, token: string): Promise<string> {
  const { body } = await http(`${origin}/v1/tickets`, { method: 'POST', token })
  return (body as { ticket: string }).ticket // the route's schema
}

t.test('H100 a token as bearer header opens a socket, with or without a subprotocol', async (t) => {
  const { origin } = await startServer(t, { routes })
  const exp = inSeconds(60)
  const headers = { authorization: `Bearer ${await signToken({ exp })}` }

  const bare = await openSocket(t, `${origin}/socket`, { headers })
  const named = await openSocket(t, `${origin}/socket`, { headers, subprotocols: ['x', 'threadline.v1'] })

  t.match(bare, { open: true, subprotocol: '' })
  t.match(named, { open: true, subprotocol: 'threadline.v1' })
  t.strictSame(await firstMessage(bare), { user_id: 'alice', expires_at: new Date(exp * 1000).toISOString() })
})

// Kill: leave the header `sec-websocket-protocol` as it came; ws then selects the first one offered, which is the token.
t.test('H100 a token as offered subprotocol opens a socket, is not selected and comes back nowhere', async (t) => {
  const { origin, log } = await startServer(t, { routes })
  const token = await signToken()

  const handshake = await openSocket(t, `${origin}/socket`, { subprotocols: [`bearer.${token}`, 'threadline.v1'] })

  t.match(handshake, { open: true, subprotocol: 'threadline.v1' })
  t.match(await firstMessage(handshake), { user_id: 'alice' })
  t.notOk(JSON.stringify(handshake.headers).includes(token))
  t.notOk(log().includes(token))
})

t.test('H100 a ticket opens a socket for who bought it, and is not logged', async (t) => {
  const { origin, log } = await startServer(t, { routes })
  const exp = inSeconds(60)
  const token = await signToken({ sub: 'bob', exp })
  const ticket = await buyTicket(origin, token)

  const handshake = await openSocket(t, `${origin}/socket?ticket=${ticket}`, { subprotocols: ['threadline.v1'] })

  t.strictSame(await firstMessage(handshake), { user_id: 'bob', expires_at: new Date(exp * 1000).toISOString() })
  t.match(log(), /\/socket\?ticket=/)
  t.notOk(log().includes(ticket))
  t.notOk(log().includes(token))
})

t.test('H101 a handshake without a good credential gets 401 before the upgrade, and its handler is not called', async (t) => {
  const { origin, log } = await startServer(t, { routes })
  const good = await signToken()
  const bad = {
    'no token': undefined,
    'a malformed token': 'not-a-token',
    'a bad signature': `${good.slice(0, -8)}AAAAAAAA`,
    'no signature': `${good.split('.').slice(0, 2).join('.')}.`,
    'a wrong audience': await signToken({ aud: 'other' }),
    'a wrong issuer': await signToken({ iss: 'https://other.example' }),
    'an expired token': await signToken({ exp: inSeconds(-100) }),
    'no subject': await signToken({ sub: undefined }),
    'an over-long token': await signToken({ claims: { padding: 'x'.repeat(9000) } })
  }

  for (const [fault, token] of Object.entries(bad)) {
    const code = fault === 'an expired token' ? 'THREADLINE_TOKEN_EXPIRED' : 'THREADLINE_UNAUTHENTICATED'
    const inHeader = await openSocket(t, `${origin}/socket`, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })
    const offered = await openSocket(t, `${origin}/socket`, { subprotocols: ['threadline.v1', ...token === undefined ? [] : [`bearer.${token}`]] })
    const http401 = await http(`${origin}/v1/me`, token === undefined ? {} : { token })

    for (const answer of [inHeader, offered, http401]) {
      t.match(answer, { status: 401, body: refusal(code), headers: { 'content-type': /json/, 'www-authenticate': 'Bearer' } }, fault)
      t.notOk(token !== undefined && (JSON.stringify([answer.headers, 'body' in answer && answer.body]) + log()).includes(token), `${fault} is echoed`)
    }
  }
  t.strictSame(connected, [])
})

t.test('H101 two credentials at once are refused, even if both are good', async (t) => {
  const { origin } = await startServer(t, { routes })
  const token = await signToken()
  const ticket = await buyTicket(origin, token)

  const refused = await openSocket(t, `${origin}/socket?ticket=${ticket}`, { headers: { authorization: `Bearer ${token}` } })

  t.match(refused, { status: 401, body: refusal('THREADLINE_UNAUTHENTICATED') })
  t.match(await openSocket(t, `${origin}/socket?ticket=${ticket}`), { open: true }, 'and the ticket was not spent')
})

t.test('H102 a client that offers only unsupported subprotocols is refused', async (t) => {
  const { origin } = await startServer(t, { routes })
  const token = await signToken()

  for (const subprotocols of [['threadline.v0'], [`bearer.${token}`]]) {
    const refused = await openSocket(t, `${origin}/socket`, { subprotocols, headers: { authorization: `Bearer ${token}` } })
    t.match(refused, { status: 400, body: refusal('THREADLINE_UNSUPPORTED_SUBPROTOCOL') })
  }
  t.strictSame(connected, [])
})

t.test('H103 of twenty sockets with the same ticket exactly one opens', async (t) => {
  const { origin } = await startServer(t, { routes })
  const ticket = await buyTicket(origin, await signToken())

  const handshakes = await Promise.all(Array.from({ length: 20 }, async () => await openSocket(t, `${origin}/socket?ticket=${ticket}`)))

  t.equal(handshakes.filter(({ open }) => open).length, 1)
  t.equal(handshakes.filter((handshake) => !handshake.open && handshake.status === 401).length, 19)
  t.strictSame(connected, ['alice'])
})

t.test('H103 a ticket is no credential for HTTP, and a socket route that is asked without an upgrade leaves it unspent', async (t) => {
  const { origin } = await startServer(t, { routes })
  const ticket = await buyTicket(origin, await signToken())

  t.match(await http(`${origin}/v1/me?ticket=${ticket}`), { status: 401 })
  t.match(await http(`${origin}/socket?ticket=${ticket}`), { status: 401 })
  t.match(await openSocket(t, `${origin}/socket?ticket=${ticket}`), { open: true })
})

t.test('a socket of a page of another origin is refused, one of an allowed page or of the own host is not', async (t) => {
  const env = { AUTH_SECRET: 'a shared secret of more than 32 bytes', AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience, ALLOWED_ORIGINS: 'https://app.example' }
  const { origin, port } = await startServer(t, { routes, env })
  const authorization = `Bearer ${await signToken()}`

  for (const foreign of ['https://evil.example', 'null', 'http://127.0.0.1:1', 'https://app.example.evil.example']) {
    const refused = await openSocket(t, `${origin}/socket`, { headers: { authorization, origin: foreign } })
    t.match(refused, { status: 403, body: refusal('THREADLINE_FORBIDDEN_ORIGIN') }, foreign)
  }
  for (const own of ['https://app.example', `http://127.0.0.1:${port}`]) {
    t.match(await openSocket(t, `${origin}/socket`, { headers: { authorization, origin: own } }), { open: true }, own)
  }
})

t.test('every route needs authentication unless its own configuration says that it is public', async (t) => {
  const { origin } = await startServer(t, { routes })

  for (const path of ['/v1/me', '/identity', '/public/identity', '/v1/tickets', '/socket']) {
    const method = path === '/v1/tickets' ? 'POST' : 'GET'
    t.match(await http(`${origin}${path}`, { method }), { status: 401 }, path)
  }
  t.match(await http(`${origin}/anybody`), { status: 200, body: { identity: null } })
  t.match(await http(`${origin}/nowhere`), { status: 404 })
  t.match(await http(`${origin}/caller-of-nobody`), { status: 500, body: refusal('THREADLINE_NO_CONTEXT') })
})

t.test('the caller is told whom the server takes him for', async (t) => {
  const { origin } = await startServer(t, { routes })
  const exp = inSeconds(60)

  const { status, body } = await http(`${origin}/v1/me`, { token: await signToken({ sub: 'Zoë 🦊', exp }) })

  t.equal(status, 200)
  t.strictSame(body, { user_id: 'Zoë 🦊', token_expires_at: new Date(exp * 1000).toISOString(), usage: unused })
})

t.test('a ticket is not to be cached', async (t) => {
  const { origin } = await startServer(t, { routes })

  const answer = await http(`${origin}/v1/tickets`, { method: 'POST', token: await signToken() })

  t.match(answer, { status: 201, headers: { 'cache-control': 'no-store' }, body: { ticket: /^[\w-]{43}$/, expires_at: /Z$/ } })
})

// Kill: call `done()` in the hook itself instead of by `enterThread`.
t.test('a handler reads the authenticated user and the request\'s own id from its context', async (t) => {
  const { origin } = await startServer(t, { routes })

  const { body, headers } = await http(`${origin}/identity`, { token: await signToken() })

  t.strictSame(body, { user_id: 'alice', request_id: headers['x-request-id'], thread_id: null })
})

t.test('what a client says of itself in baggage or body is not believed', async (t) => {
  const { origin } = await startServer(t, {
    routes (app) {
      app.get('/baggage', async () => ({ ...identity(), entries: propagation.getBaggage(context.active())?.getAllEntries().map(([name, { value }]) => [name, value]) }))
    }
  })
  const headers = { baggage: 'user.id=bob,gen_ai.conversation.id=x,more=y', traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01` }

  const { body } = await http(`${origin}/baggage`, { token: await signToken(), headers })

  t.match(body, { user_id: 'alice' })
  t.strictSame(new Map((body as { entries: [string, string][] }).entries).get('user.id'), 'alice') // the route's answer above
  t.equal((body as { entries: unknown[] }).entries.length, 2)
})

interface Told {
  readonly user_id: string
  readonly request_id: string
  readonly caller?: string
  readonly body?: unknown
}

/** Sends a body in pieces over one of the agent's connections, so that it is parsed in callbacks of the socket. */
async function post (agent: Agent, url: string, token: string, pieces: readonly string[]): Promise<Told> {
  const outgoing = request(url, { agent, method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } })
  const answered = once(outgoing, 'response')
  for (const piece of pieces) {
    await new Promise((resolve) => outgoing.write(piece, resolve))
    await setImmediate()
  }
  outgoing.end()
  const [response] = await answered
  return JSON.parse(await text(response)) as Told // the route of these tests
}

// Kill: keep the caller in one variable of the plugin instead of by request; requests then answer for one another.
t.test('D45 two hundred interleaved requests of ten users over shared connections each keep their own identity', async (t) => {
  const { origin } = await startServer(t, { routes })
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  t.teardown(() => { agent.destroy() })
  const users = await Promise.all(Array.from({ length: 10 }, async (_, n) => ({ sub: `user-${n}`, token: await signToken({ sub: `user-${n}` }) })))
  const requests = Array.from({ length: 20 }, (_, round) => users.map((user) => ({ ...user, marker: `${user.sub}-${round}` }))).flat()

  const answers = await Promise.all(requests.map(async ({ token, marker }) =>
    await post(agent, `${origin}/identity`, token, ['{"marker":', ' '.repeat(2000), `"${marker}"`, '}'])))

  t.strictSame(answers.map(({ user_id: user, caller, body }) => ({ user, caller, body })),
    requests.map(({ sub, marker }) => ({ user: sub, caller: sub, body: { marker } })))
  t.equal(new Set(answers.map(({ request_id: id }) => id)).size, requests.length)
})

// Kill: keep the last caller in a variable of the plugin and enter that.
t.test('J123 a public request sees no identity, also behind an authenticated one on the same connection', async (t) => {
  const { origin } = await startServer(t, { routes })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => { agent.destroy() })
  const [alice, bob] = [await signToken(), await signToken({ sub: 'bob' })]

  const first = await http(`${origin}/identity`, { agent, token: alice })
  const second = await http(`${origin}/anybody`, { agent })
  const third = await http(`${origin}/identity`, { agent, token: bob, method: 'POST', body: {} })
  const fourth = await http(`${origin}/anybody`, { agent })

  t.match([first.body, second.body, third.body, fourth.body], [{ user_id: 'alice' }, { identity: null }, { user_id: 'bob' }, { identity: null }])
  t.strictSame([first, second, third, fourth].map(({ reused }) => reused), [false, true, true, true])
})

t.test('H100 tokens of an issuer with public keys are accepted, also after its keys have changed', async (t) => {
  const [first, second] = await Promise.all([createSigningKey('first'), createSigningKey('second', 'RS256')])
  const keyServer = await startKeyServer(t, [first, second])
  const { origin, app } = await startServer(t, { routes, env: { AUTH_JWKS_URL: keyServer.url, AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience } })
  const sign = async ({ kid, alg, privateKey }: typeof first): Promise<string> => await signToken({ key: privateKey, header: { alg, kid } })

  t.equal(app.authentication.mode, 'jwks')
  for (const key of [first, second]) {
    const headers = { authorization: `Bearer ${await sign(key)}` }
    t.match(await openSocket(t, `${origin}/socket`, { headers }), { open: true })
  }
  t.match(await http(`${origin}/v1/me`, { token: await signToken() }), { status: 401 }, 'a shared secret is no key of the issuer')
})

t.test('an issuer whose keys cannot be fetched is an error of the server, and clients are not told to throw their tokens away', async (t) => {
  const key = await createSigningKey('key')
  const { origin, log } = await startServer(t, { routes, env: { AUTH_JWKS_URL: 'http://127.0.0.1:1/jwks', AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience } })
  const token = await signToken({ key: key.privateKey, header: { alg: key.alg, kid: key.kid } })

  const refused = await openSocket(t, `${origin}/socket`, { headers: { authorization: `Bearer ${token}` } })

  t.match(refused, { status: 500, body: refusal('THREADLINE_INTERNAL') })
  t.notOk(log().includes(token))
})

t.test('keys that are fetched without TLS over a network are warned of', async (t) => {
  const urls = { 'http://issuer.example/jwks': true, 'https://issuer.example/jwks': false, 'http://127.0.0.1:1/jwks': false }
  for (const [url, warned] of Object.entries(urls)) {
    const { log } = await startServer(t, { env: { AUTH_JWKS_URL: url, AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience } })
    t.equal(log().includes('without TLS'), warned, url)
  }
})

t.test('the reason of a refusal is logged, without token and claims', async (t) => {
  const { origin, log } = await startServer(t, { routes })
  const token = await signToken({ aud: 'other', claims: { email: 'alice@example.com' } })

  await http(`${origin}/v1/me`, { token })

  t.match(log(), 'unexpected \\"aud\\" claim value')
  t.notMatch(log(), /alice@example|eyJ/)
})

t.test('the plugins do the same inside of an application plugin, as fastify-cli loads it', async (t) => {
  const { origin } = await startServer(t, { routes, encapsulated: true })
  const token = await signToken()

  const answer = await http(`${origin}/identity`, { token })
  const unknown = await http(`${origin}/nowhere`)
  const refused = await openSocket(t, `${origin}/socket`)

  t.match(answer, { status: 200, body: { user_id: 'alice', request_id: answer.headers['x-request-id'] ?? '' } })
  t.match(unknown, { status: 404, body: refusal('THREADLINE_NOT_FOUND') })
  t.match(refused, { status: 401, body: refusal('THREADLINE_UNAUTHENTICATED') })
  t.match(await openSocket(t, `${origin}/socket`, { headers: { authorization: `Bearer ${token}` } }), { open: true })
})

// Kill: the hook `onResponse` of the plugin, or the destroyed socket in `answerUnroutable`; `close` then waits for the refused client.
t.test('a refused handshake ends the connection, so that a client cannot keep the server from closing', async (t) => {
  for (const encapsulated of [false, true]) {
    const { app, origin, port } = await startServer(t, { routes, encapsulated })
    const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }

    const clients = await Promise.all(['/socket', '/v1/me', '/nowhere', '/%zz'].map(async (path) => {
      const client = connect(port, '127.0.0.1')
      t.teardown(() => { client.destroy() })
      client.write([`GET ${path} HTTP/1.1`, `Host: ${new URL(origin).host}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n'))
      return await text(client)
    }))
    await app.close()

    t.match(clients, [/^HTTP\/1.1 401 .*THREADLINE_UNAUTHENTICATED/s, /^HTTP\/1.1 401 /, /^HTTP\/1.1 404 .*NOT_FOUND/s, /^HTTP\/1.1 400 .*BAD_REQUEST/s])
  }
})

t.test('what a request does hangs under its own server span, with a body as without', async (t) => {
  const spans = collectSpans()
  const { origin } = await startServer(t, {
    routes (app) {
      app.post('/work', async () => {
        trace.getTracer('test').startSpan('work').end()
        return {}
      })
    }
  })

  const answers = await Promise.all(['alice', 'bob'].map(async (sub) =>
    await http(`${origin}/work`, { method: 'POST', body: { sub }, token: await signToken({ sub }) })))

  t.match(answers, [{ status: 200 }, { status: 200 }])
  const [first, second] = await spans.until((all) => {
    const work = all.filter(({ name }) => name === 'work')
    const servers = all.filter(({ kind }) => kind === SpanKind.SERVER)
    return servers.length < 2 ? undefined : work.map(({ parentSpanContext }) => servers.find((server) => server.spanContext().spanId === parentSpanContext?.spanId))
  })
  t.ok(first)
  t.ok(second)
  t.not(first, second)
})
