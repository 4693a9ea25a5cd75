import type { ServerEvent } from '../../lib/protocol/events.ts'
import type { TestServer } from './start-server.ts'
import { openSocket, TestSocket, type Refusal } from './test-socket.ts'

interface Test {
  teardown (fn: () => void): void
}

/** What a client has seen of a thread. */
export interface Seen { readonly after: number, readonly epoch: string }

/** Query parameters of a handshake, as a client writes them. */
export type Handshake = Readonly<Record<string, string | number>>

/** Opens sockets of one user with whatever their handshake says; the token is asked for once. They are closed with the test. */
export async function clientOf (t: Test, server: TestServer, user: string) {
  const token = await server.token(user)

  async function open (handshake: Handshake): Promise<TestSocket | Refusal> {
    const query = new URLSearchParams(Object.entries(handshake).map(([name, value]): [string, string] => [name, String(value)]))
    const opened = await openSocket(`${server.url.replace('http', 'ws')}/v1/socket?${query.toString()}`, { protocols: ['threadline.v1', `bearer.${token}`] })
    if (opened instanceof TestSocket) t.teardown(() => { opened.drop() })
    return opened
  }

  /** A socket that has been told where it is; what it has missed may still come. */
  async function comeBack (thread: string, seen?: Seen): Promise<TestSocket> {
    const opened = await open({ thread_id: thread, ...seen })
    if (!(opened instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(opened)}`)
    await opened.until('connection_established')
    return opened
  }

  return { open, comeBack }
}

/** What a client knows that has received these events, none of which it has missed. */
export function seenIn (events: readonly ServerEvent[], before: Seen): Seen {
  const last = events.findLast((event) => event.sequence !== undefined)
  return { after: last?.sequence ?? before.after, epoch: last?.epoch ?? before.epoch }
}

export function sequencesOf (events: readonly ServerEvent[]): readonly number[] {
  return events.flatMap(({ sequence }) => sequence ?? [])
}

/** `count` numbers that follow `after`. */
export function following (after: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_number, index) => after + 1 + index)
}
