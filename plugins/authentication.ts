import { trace, type Span } from '@opentelemetry/api'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { readBearerToken } from '../lib/auth/bearer-token.ts'
import { createDevelopmentTokens, type DevelopmentTokens } from '../lib/auth/development-tokens.ts'
import { isLoopbackAddress, isLoopbackHost } from '../lib/auth/loopback.ts'
import { isAllowedOrigin } from '../lib/auth/origin.ts'
import { readSocketCredentials } from '../lib/auth/socket-credentials.ts'
import { createTickets, type Tickets } from '../lib/auth/tickets.ts'
import { createTokenVerifier, type Caller, type TokenVerifier } from '../lib/auth/token-verifier.ts'
import { enterThread, identityAttributes, tryCurrentIdentity } from '../lib/context/current-thread.ts'
import { guard } from '../lib/context/guard.ts'
import { createIdentity, type Identity } from '../lib/context/identity.ts'
import { deriveKey } from '../lib/context/signature.ts'
import { ThreadlineError } from '../lib/errors.ts'
import { isRequestId } from '../lib/protocol/ids.ts'

declare module 'fastify' {
  interface FastifyInstance {
    authentication: Authentication
  }
  interface FastifyRequest {
    /** Who sent the request. Throws `THREADLINE_NO_CONTEXT` on a public route. */
    readonly caller: Caller
  }
  interface FastifyContextConfig {
    /** Served without authentication. */
    public?: boolean
    /** Takes the credentials that a socket's handshake can carry, and checks its `Origin`. */
    socket?: boolean
  }
}

export interface Authentication {
  readonly mode: 'jwks' | 'secret' | 'development'
  readonly verifyToken: TokenVerifier
  readonly tickets: Tickets
  /** Only in development mode. */
  readonly developmentTokens?: DevelopmentTokens
}

/**
 * Authenticates every request before anything else sees it, unless its route says `config: { public: true }`, and enters the
 * caller's identity for the rest of the request. Sockets are refused before the upgrade.
 *
 * Without keys in the configuration the server is in development mode: it signs tokens itself, for whoever asks, and
 * therefore serves this machine only, unless it serves no users at all. Registered before all routes, and after whatever answers CORS preflights.
 */
export default fp(async function authentication (app) {
  const authentication = createAuthentication(app.config, createTickets({ store: app.storage.tickets }))
  const callers = new WeakMap<FastifyRequest, Caller>()
  const entered = new WeakMap<FastifyRequest, Entered>()

  app.decorate('authentication', authentication)
  app.decorateRequest('caller', {
    getter (this: FastifyRequest) {
      const caller = callers.get(this)
      if (caller === undefined) throw new ThreadlineError('THREADLINE_NO_CONTEXT', 'Nobody is authenticated on a public route')
      return caller
    }
  })
  if (authentication.mode === 'development' && app.node.serves) serveThisMachineOnly(app)
  if (isExposed(app.config.authJwksUrl)) app.log.warn('AUTH_JWKS_URL is fetched without TLS: whoever controls the network on the way can sign tokens')

  app.addHook('onRequest', async (request) => {
    const { config } = request.routeOptions
    if (config.public === true || request.is404) return
    const caller = config.socket === true && isUpgrade(request)
      ? await authenticateSocket(request, app)
      : await authentication.verifyToken(readBearerToken(request.headers.authorization))
    callers.set(request, caller)
  })

  // By callback, because what `done` calls is the rest of the request: parsing, handler, serialisation, error handler.
  app.addHook('onRequest', (request, _reply, done) => {
    const caller = callers.get(request)
    if (caller === undefined) return done()
    const identity = createIdentity({ userId: caller.userId, requestId: requestIdOf(request) })
    const span = trace.getActiveSpan()
    span?.setAttributes(identityAttributes(identity))
    entered.set(request, { identity, span })
    enterThread(identity, done, { parent: span })
  })
  enterBeforeHandlers(app, entered)

  // Node has handed the connection over, and @fastify/websocket ends only those that got as far as its own hook: without this a
  // refused client could keep it open, and `app.close()` would wait for it. After an upgrade there is no response.
  app.addHook('onResponse', (request, _reply, done) => {
    if (isUpgrade(request)) request.raw.socket.destroy()
    done()
  })
}, { name: 'authentication', fastify: '5.x', dependencies: ['config', 'node', 'storage', 'request-id'] })

/** In whose name a request is answered, and in which trace. */
interface Entered { readonly identity: Identity, readonly span: Span | undefined }

/**
 * Hooks of other plugins come between authentication and handler, and one that calls back from a pool, a cache or a connection goes on in the
 * context of whoever called it. So the request's own identity is entered again where it is not active any more, and compared at last.
 */
function enterBeforeHandlers (app: FastifyInstance, entered: WeakMap<FastifyRequest, Entered>): void {
  app.addHook('onRoute', (route) => {
    const { handler } = route
    if (route.websocket === true) return // it is given a socket, and enters the identity of the handshake itself
    route.handler = function (request, reply) {
      const own = entered.get(request)
      if (own === undefined) return handler.call(this, request, reply)
      const answer = (): unknown => {
        guard({ userId: own.identity.userId }, 'handler')
        return handler.call(this, request, reply)
      }
      if (tryCurrentIdentity() === own.identity) return answer()
      return enterThread(own.identity, answer, { parent: own.span })
    }
  })
}

function createAuthentication (config: FastifyInstance['config'], tickets: Tickets): Authentication {
  const { authJwksUrl, authSecret, authIssuer, authAudience, authClockToleranceSeconds: clockToleranceSeconds, ownSigningKey: signingKey } = config
  if (authIssuer === undefined || authAudience === undefined) {
    // A token of one node is good on the others, which have the same keys.
    const secret = signingKey === undefined ? undefined : deriveKey(new TextEncoder().encode(signingKey), 'threadline development tokens')
    const developmentTokens = createDevelopmentTokens({ clockToleranceSeconds, secret })
    return { mode: 'development', verifyToken: developmentTokens.verify, tickets, developmentTokens }
  }
  const claims = { issuer: authIssuer, audience: authAudience, clockToleranceSeconds }
  if (authJwksUrl !== undefined) {
    return { mode: 'jwks', tickets, verifyToken: createTokenVerifier({ keys: { jwksUrl: authJwksUrl }, ...claims }) }
  }
  const secret = new TextEncoder().encode(authSecret)
  return { mode: 'secret', tickets, verifyToken: createTokenVerifier({ keys: { secret }, ...claims }) }
}

function isExposed (jwksUrl: string | undefined): boolean {
  const url = jwksUrl === undefined ? undefined : new URL(jwksUrl)
  return url?.protocol === 'http:' && !isLoopbackHost(url.hostname)
}

async function authenticateSocket (request: FastifyRequest, app: FastifyInstance): Promise<Caller> {
  requireAllowedOrigin(request, app)
  const { query, headers } = request
  const credentials = readSocketCredentials({
    authorization: headers.authorization,
    offeredSubprotocols: headers['sec-websocket-protocol'],
    ticket: typeof query === 'object' && query !== null && 'ticket' in query ? query.ticket : undefined
  })
  // What answers the upgrade selects a subprotocol from this header. It never gets to see the token.
  if (credentials.subprotocol !== undefined) request.raw.headers['sec-websocket-protocol'] = credentials.subprotocol
  return credentials.kind === 'ticket'
    ? await app.authentication.tickets.redeem(credentials.ticket)
    : await app.authentication.verifyToken(credentials.token)
}

function requireAllowedOrigin (request: FastifyRequest, { config, authentication }: FastifyInstance): void {
  const { origin, host } = request.headers
  const development = authentication.mode === 'development'
  if (!isAllowedOrigin(origin, { host, allowedOrigins: config.allowedOrigins, development })) {
    throw new ThreadlineError('THREADLINE_FORBIDDEN_ORIGIN')
  }
}

/**
 * Three checks, because each alone can be passed by: the configured host, the address that was really bound (a flag of
 * `fastify start` wins over the configuration), and each request, whose `Host` and `Origin` tell a page that has made its own name
 * point to this machine (DNS rebinding).
 */
function serveThisMachineOnly (app: FastifyInstance): void {
  const remedy = 'set AUTH_JWKS_URL or AUTH_SECRET to serve others, or HOST to 127.0.0.1'
  if (!isLoopbackHost(app.config.host)) {
    throw new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `HOST must be a loopback address in development mode: ${remedy}`, { field: 'HOST' })
  }
  app.log.warn('Development mode: whoever can reach this machine\'s loopback address can sign in as anybody, with POST /v1/dev/tokens')

  app.addHook('onListen', async () => {
    const addresses = app.addresses().map((bound) => typeof bound === 'string' ? bound : bound.address)
    if (addresses.every(isLoopbackAddress)) return
    app.log.fatal({ addresses }, `Development mode must not be reachable from other machines: ${remedy}`)
    process.exitCode = 1
    await app.close()
  })

  app.addHook('onRequest', async (request) => {
    const { localAddress, remoteAddress } = request.socket
    const hostname = URL.parse(`http://${request.headers.host}`)?.hostname ?? ''
    if (!isLoopbackAddress(localAddress ?? remoteAddress) || !isLoopbackHost(hostname)) {
      throw new ThreadlineError('THREADLINE_FORBIDDEN_ORIGIN', 'In development mode only this machine is served')
    }
    requireAllowedOrigin(request, app)
  })
}

function isUpgrade ({ headers }: FastifyRequest): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket'
}

/** Made by the plugin `request-id`; checked, because a server can be built with another source of ids. */
function requestIdOf ({ id }: FastifyRequest) {
  if (!isRequestId(id)) throw new ThreadlineError('THREADLINE_INVALID_CONTEXT', 'The request id is not a request id', { field: 'request_id' })
  return id
}
