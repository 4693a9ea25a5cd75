import type { FastifyInstance, RouteOptions } from 'fastify'
import { violationChannel, type Violation } from '../../lib/context/guard.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { toThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import { startNodes, type LogLine, type NodesOptions } from './service-nodes.ts'
import { collectSpans, type SpanCollection } from './spans.ts'
import { openSocket, TestSocket, type Refusal } from './test-socket.ts'
import { wholeService } from './whole-service.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

export interface TestServer {
  /** What the nodes are together. */
  readonly app: FastifyInstance
  /** Those that users are connected to; the process itself where there is one for everything. */
  readonly gateways: readonly FastifyInstance[]
  /** Those that execute runs. */
  readonly workers: readonly FastifyInstance[]
  readonly routes: readonly RouteOptions[]
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  readonly spans: SpanCollection
  /** What the guard has refused since the server started. */
  readonly violations: readonly Violation[]
  readonly log: readonly LogLine[]
  token (user: string, expiresInSeconds?: number): Promise<string>
  /** A socket of the user that has been told `connection_established`; closed with the test. */
  connect (user: string, options?: { thread?: string | undefined }): Promise<TestSocket>
  /** The same, without waiting for anything after the upgrade; or the refusal. */
  open (user: string, options?: { thread?: string | undefined }): Promise<TestSocket | Refusal>
  /** A new thread of the user. */
  thread (user: string, title?: string): Promise<ThreadId>
  close (): Promise<void>
}

/**
 * The whole service, on free ports of loopback, as the topology lays it out: the real plugins over a real database, with nothing put in place of
 * anything. `app` is the service as one (`wholeService`), and in a cluster two sockets are on two gateways. Closed with the test.
 */
export async function startServer (t: Test, options: NodesOptions = {}): Promise<TestServer> {
  const spans = collectSpans()
  const violations: Violation[] = []
  const note = (violation: unknown): void => { violations.push(violation as Violation) } // the channel carries nothing else
  violationChannel.subscribe(note)

  t.teardown(() => { violationChannel.unsubscribe(note) })
  const nodes = await startNodes(options)
  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => { await (closed ??= nodes.close()) }
  t.teardown(close)
  const { url, log, routes } = nodes
  const app = wholeService(nodes)

  const token = async (user: string, expiresInSeconds = 3600): Promise<string> => {
    const response = await fetch(`${url}/v1/dev/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user_id: user, expires_in_seconds: expiresInSeconds })
    })
    const body = await response.json() as { token?: string }
    if (body.token === undefined) throw new Error(`No token: ${JSON.stringify(body)}`)
    return body.token
  }

  const open: TestServer['open'] = async (user, { thread } = {}) => {
    const query = thread === undefined ? '' : `?thread_id=${encodeURIComponent(thread)}`
    const socketUrl = `${url.replace('http', 'ws')}/v1/socket${query}`
    const opened = await openSocket(socketUrl, { protocols: ['threadline.v1', `bearer.${await token(user)}`] })
    if (opened instanceof TestSocket) t.teardown(() => { opened.drop() })
    return opened
  }

  const connect: TestServer['connect'] = async (user, connectOptions) => {
    const socket = await open(user, connectOptions)
    if (!(socket instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(socket)}`)
    await socket.until('connection_established')
    return socket
  }

  return {
    app,
    gateways: nodes.gateways,
    workers: nodes.workers,
    routes,
    url,
    spans,
    violations,
    log,
    token,
    open,
    connect,
    close,
    async thread (user, title) {
      const socket = await connect(user)
      const created = await socket.ask({ type: 'create_thread', payload: title === undefined ? {} : { title } })
      await socket.close()
      return toThreadId((created as ServerEvent<'thread_created'>).payload.thread_id)
    }
  }
}

/** Events of one run, in the order in which a socket received them. */
export function eventsOfRun (events: readonly ServerEvent[], runId: string): readonly ServerEvent[] {
  return events.filter((event) => event.run_id === runId)
}
