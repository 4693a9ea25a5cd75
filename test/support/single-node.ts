import Fastify, { type FastifyInstance } from 'fastify'
import threadline, { options as serverOptions, type AppOptions } from '../../app.ts'
import { openSocket, TestSocket, type Refusal } from './test-socket.ts'

interface Test {
  teardown (fn: () => void): void
}

/** One node of a service, at its own address: for tests that choose which node a client is on. */
export interface SingleNode {
  readonly app: FastifyInstance
  /** `http://127.0.0.1:<port>` */
  readonly url: string
}

/** Who starts it closes it, before the database is dropped. */
export async function startSingleNode (options: AppOptions): Promise<SingleNode> {
  const app = Fastify({ ...serverOptions, logger: false, pluginTimeout: 120_000 })
  await app.register(threadline, options)
  return { app, url: await app.listen({ host: '127.0.0.1', port: 0 }) }
}

export interface Posted { readonly status: number, readonly body: Readonly<Record<string, string>> }

export async function post (node: SingleNode, path: string, token: string | undefined, body: object): Promise<Posted> {
  const headers = { 'content-type': 'application/json', ...token === undefined ? {} : { authorization: `Bearer ${token}` } }
  const answer = await fetch(`${node.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  return { status: answer.status, body: await answer.json() as Posted['body'] } // of the routes that are asked so
}

export async function tokenOf (user: string, node: SingleNode): Promise<string> {
  return (await post(node, '/v1/dev/tokens', undefined, { user_id: user })).body['token'] ?? ''
}

/** A socket as the query names it, or its refusal. */
export async function openAt (t: Test, node: SingleNode, token: string | undefined, query: Readonly<Record<string, string>> = {}): Promise<TestSocket | Refusal> {
  const url = `${node.url.replace('http', 'ws')}/v1/socket?${new URLSearchParams(query).toString()}`
  const opened = await openSocket(url, { protocols: ['threadline.v1', ...token === undefined ? [] : [`bearer.${token}`]] })
  if (opened instanceof TestSocket) t.teardown(() => { opened.drop() })
  return opened
}

/** The same, established; throws what refuses it. */
export async function connectAt (t: Test, node: SingleNode, token: string, query?: Readonly<Record<string, string>>): Promise<TestSocket> {
  const opened = await openAt(t, node, token, query)
  if (!(opened instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(opened)}`)
  await opened.until('connection_established')
  return opened
}
