import { once } from 'node:events'
import { createServer, request, type Agent, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { buffer, json } from 'node:stream/consumers'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import fp from 'fastify-plugin'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import type { TicketStore } from '../../lib/stores/ticket-store.ts'
import { currentIdentity } from '../../lib/context/current-thread.ts'
import type { UserId } from '../../lib/protocol/ids.ts'
import { loggerOptions } from '../../lib/telemetry/logger-options.ts'
import authentication from '../../plugins/authentication.ts'
import config, { type ConfigOptions } from '../../plugins/config.ts'
import errors, { answerUnroutable } from '../../plugins/errors.ts'
import node from '../../plugins/node.ts'
import requestId from '../../plugins/request-id.ts'

export const issuer = 'https://issuer.example'
export const audience = 'chat'
export const secret = 'a shared secret of more than 32 bytes'

/** A server's environment that verifies tokens made by `signToken`. */
export const secretEnvironment = { AUTH_SECRET: secret, AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience }

export interface TokenInput {
  readonly sub?: unknown
  readonly iss?: string | undefined
  readonly aud?: string | readonly string[] | undefined
  readonly exp?: unknown
  readonly key?: CryptoKey | Uint8Array
  readonly header?: { readonly alg: string, readonly kid?: string }
  readonly claims?: Record<string, unknown>
}

export const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds

/** A token of Alice that is good for a minute; each field can be given otherwise, or as undefined to leave it out. */
export async function signToken (input: TokenInput = {}): Promise<string> {
  const claims = { sub: 'alice', iss: issuer, aud: audience, exp: inSeconds(60), ...input.claims }
  for (const name of ['sub', 'iss', 'aud', 'exp'] as const) {
    if (name in input) Object.assign(claims, { [name]: input[name] })
  }
  const key = input.key ?? new TextEncoder().encode(secret)
  return await new SignJWT(claims).setProtectedHeader(input.header ?? { alg: 'HS256' }).sign(key)
}

/** Tickets in memory, with the promises of the port. */
export function createMemoryTicketStore (): TicketStore & { readonly hashes: () => string[] } {
  const kept = new Map<string, { userId: UserId, tokenExpiresAt: string | null, expiresAt: Date }>()
  return {
    hashes: () => [...kept.keys()],
    async issue (hash, { tokenExpiresAt }, expiresAt) {
      kept.set(hash, { userId: currentIdentity().userId, tokenExpiresAt, expiresAt })
    },
    async redeem (hash) {
      const ticket = kept.get(hash)
      kept.delete(hash)
      return ticket !== undefined && ticket.expiresAt.getTime() > Date.now() ? ticket : undefined
    }
  }
}

export interface TestServer {
  readonly app: FastifyInstance
  readonly origin: string
  readonly port: number
  /** Everything that was logged, as text. */
  readonly log: () => string
}

export interface ServerOptions {
  readonly env?: ConfigOptions['env']
  readonly routes?: (app: FastifyInstance) => void
  readonly listenHost?: string
  readonly tickets?: TicketStore
  /** Everything is registered in a child of the root, as fastify-cli does with an application. */
  readonly encapsulated?: boolean
}

/** A listening server with authentication and what it depends on. */
export async function startServer (t: Test, options: ServerOptions = {}): Promise<TestServer> {
  const { app, log } = await buildServer(t, options)
  await app.listen({ port: 0, host: options.listenHost ?? '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo // it listens on a port
  return { app, port, origin: `http://127.0.0.1:${port}`, log }
}

export async function buildServer (t: Test, options: ServerOptions = {}) {
  const chunks: string[] = []
  const stream = new Writable({ write (chunk, _encoding, done) { chunks.push(String(chunk)); done() } })
  const logger = { level: 'trace', stream, serializers: loggerOptions.serializers } as NonNullable<FastifyServerOptions['logger']> // Fastify asks for fewer undefineds
  const app = Fastify({ logger, frameworkErrors: answerUnroutable })
  t.teardown(() => app.close())

  if (options.encapsulated === true) app.register(async (child) => { registerAll(child, options) })
  else registerAll(app, options)
  return { app, log: () => chunks.join('') }
}

/** What a user has used of whom nothing is kept. */
export const unused = { threads: 0, messages: 0, runs: 0, models: [] }

function registerAll (app: FastifyInstance, { env = secretEnvironment, routes, tickets = createMemoryTicketStore() }: ServerOptions): void {
  app.register(config, { env })
  app.register(node)
  app.register(requestId)
  app.register(errors)
  app.register(fp(async (instance) => {
    // all that authentication and the routes of an account use
    instance.decorate('storage', { tickets, account: { usage: async () => unused } } as never)
    instance.decorate('gateway', { count () {} } as never)
  }, { name: 'storage' }))
  app.register(authentication)
  app.register(websocket)
  app.register(async (instance) => { routes?.(instance) })
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
  /** The request went over a connection that another one had used. */
  readonly reused?: boolean
}

export interface HttpInput {
  readonly agent?: Agent
  readonly method?: string
  readonly token?: string
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

/** One HTTP request. Unlike `fetch` it can set `Host` and `Origin`. */
export async function http (url: string, { method = 'GET', agent, token, headers = {}, body }: HttpInput = {}): Promise<Answer> {
  const outgoing = request(url, {
    method,
    agent,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers
    }
  })
  outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  const [response] = await once(outgoing, 'response')
  return { status: response.statusCode, headers: response.headers, body: await json(response), reused: outgoing.reusedSocket }
}

export interface HandshakeInput {
  readonly subprotocols?: readonly string[]
  readonly headers?: Record<string, string>
}

export type Handshake =
  | { readonly open: true, readonly socket: WebSocket, readonly firstMessage: Promise<unknown>, readonly subprotocol: string, readonly headers: IncomingHttpHeaders }
  | ({ readonly open: false } & Answer)

/** Opens a socket, or tells how it was refused. */
export async function openSocket (t: Test, url: string, { subprotocols = [], headers = {} }: HandshakeInput = {}): Promise<Handshake> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), [...subprotocols], { headers })
  t.teardown(() => { socket.terminate() })
  const { promise, resolve, reject } = Promise.withResolvers<Handshake>()
  let upgradeHeaders: IncomingHttpHeaders = {}
  // listened for from the start: it can come in the same packet as the answer to the handshake
  const firstMessage = new Promise<unknown>((resolve) => { socket.once('message', (data: Buffer) => { resolve(JSON.parse(data.toString())) }) })
  socket.on('upgrade', (response) => { upgradeHeaders = response.headers })
  socket.on('open', () => { resolve({ open: true, socket, firstMessage, subprotocol: socket.protocol, headers: upgradeHeaders }) })
  socket.on('unexpected-response', (_request, response) => {
    buffer(response).then((bytes) => {
      resolve({ open: false, status: response.statusCode ?? 0, headers: response.headers, body: JSON.parse(bytes.toString()) })
    }).catch(reject)
  })
  socket.on('error', reject)
  return await promise
}

export interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
}

export async function createSigningKey (kid: string, alg = 'ES256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, publicJwk: { ...await exportJWK(publicKey), kid, alg } }
}

/** An issuer's key server whose keys can be exchanged. `requests` counts how often it was asked. */
export async function startKeyServer (t: Test, first: readonly SigningKey[]) {
  let keys = first
  let requests = 0
  const server = createServer((_request, response) => {
    requests++
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: keys.map(({ publicJwk }) => publicJwk) }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close(); server.closeAllConnections() })
  const { port } = server.address() as AddressInfo // it listens on a port
  return {
    url: `http://127.0.0.1:${port}/jwks.json`,
    requests: () => requests,
    rotate (next: readonly SigningKey[]) { keys = next }
  }
}
