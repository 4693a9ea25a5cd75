import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import threadline, { options as serverOptions, type AppOptions } from '../../app.ts'
import { violationChannel, type Violation } from '../../lib/context/guard.ts'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { toThreadId, type ThreadId } from '../../lib/protocol/ids.ts'
import { watchAnswers } from './conformance-record.ts'
import { collectSpans, type SpanCollection } from './spans.ts'
import { openSocket, TestSocket, type Refusal } from './test-socket.ts'
import { createThrowawayDatabase } from './throwaway-database.ts'
import { topology } from './topology.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

export interface LogLine { readonly level: number, readonly msg: string, readonly [field: string]: unknown }

export interface TestServer {
  readonly app: FastifyInstance
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

export interface ServerOptions extends Omit<AppOptions, 'env'> {
  readonly env?: Readonly<Record<string, string | number | undefined>>
}

/**
 * The whole service, listening on a free port of loopback: the real plugins over a real database (as the topology
 * says), with nothing put in place of anything. Closed with the test.
 */
export async function startServer (t: Test, options: ServerOptions = {}): Promise<TestServer> {
  const spans = collectSpans()
  const log: LogLine[] = []
  const stream = { write (line: string) { log.push(JSON.parse(line) as LogLine) } }
  const app = Fastify({ ...serverOptions, logger: { ...serverOptions.logger, level: 'info', stream }, pluginTimeout: 120_000 })
  watchAnswers(app)
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => { routes.push(route) })
  const violations: Violation[] = []
  const note = (violation: unknown): void => { violations.push(violation as Violation) } // the channel carries nothing else
  violationChannel.subscribe(note)

  const database = topology === 'embedded' ? undefined : await createThrowawayDatabase({ migrated: true })
  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => {
    violationChannel.unsubscribe(note)
    await (closed ??= app.close().then(() => database?.drop()))
  }
  t.teardown(close)

  const storage = database === undefined ? { DATA_DIR: 'memory' } : { DATABASE_URL: database.url }
  // Tests count what their sockets receive, what models are asked and how threads change: a title would come in between at any time.
  const quiet = { MESSAGES_PER_WINDOW: 100_000, TITLE_MODEL: 'off' }
  await app.register(threadline, { ...options, env: { ...storage, ...quiet, ...options.env } })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })

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
