import type { ThreadId } from '../../lib/protocol/ids.ts'
import type { TestServer } from './start-server.ts'
import { openStream, TestStream, type HttpAnswer, type StreamRequest } from './test-stream.ts'

interface Test {
  teardown (fn: () => void): void
}

export interface Place { readonly lastEventId?: string, readonly after?: number, readonly epoch?: string }

export interface Listener {
  /** The stream of a thread that answers; dropped with the test. */
  follow (thread: ThreadId, place?: Place): Promise<TestStream>
  /** The stream of a run. */
  run (thread: ThreadId, body: Readonly<Record<string, unknown>>): Promise<TestStream>
  /** Whatever answers. */
  ask (path: string, request?: Omit<StreamRequest, 'token'>): Promise<TestStream | HttpAnswer>
}

/** A user of the server who reads event streams, with a token of their own. */
export async function listener (t: Test, server: Pick<TestServer, 'url' | 'token'>, user: string, expiresInSeconds?: number): Promise<Listener> {
  const token = await server.token(user, expiresInSeconds)

  const ask: Listener['ask'] = async (path, request) => {
    const answer = await openStream(`${server.url}${path}`, { ...request, token })
    if (answer instanceof TestStream) t.teardown(() => { answer.drop() })
    return answer
  }

  return {
    ask,
    follow: async (thread, { lastEventId, after, epoch } = {}) => {
      const query = after === undefined || epoch === undefined ? '' : `?${new URLSearchParams({ after: String(after), epoch }).toString()}`
      const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
      return streamOf(await ask(`/v1/threads/${thread}/events${query}`, { headers }))
    },
    run: async (thread, body) => streamOf(await ask(`/v1/threads/${thread}/runs/stream`, { method: 'POST', body }))
  }
}

function streamOf (answer: TestStream | HttpAnswer): TestStream {
  if (answer instanceof TestStream) return answer
  throw new Error(`No stream: ${answer.status} ${answer.text}`)
}
