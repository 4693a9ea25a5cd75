import { WebSocket } from 'ws'
import { connectThreadline } from '../../client/connect.ts'
import type { ClientStatus, ConnectOptions, Credentials, ThreadlineClient } from '../../client/threadline-client.ts'
import type { ThreadlineEvent } from '../../client/threadline-event.ts'
import { createArrivals } from './arrivals.ts'
import { createManualClock, type ManualClock } from './manual-clock.ts'
import type { ScriptedConnection, ScriptedServer } from './scripted-server.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface TestClient {
  readonly client: ThreadlineClient
  readonly clock: ManualClock
  /** The next status of this kind; earlier ones of another kind stay. */
  readonly status: <State extends ClientStatus['state']>(state: State) => Promise<Extract<ClientStatus, { state: State }>>
  readonly statuses: readonly ClientStatus[]
  readonly events: ThreadlineEvent[]
}

/** `ConnectOptions` of which only the address must be given. */
type Given = Partial<Omit<ConnectOptions, 'token' | 'getToken'>> & {
  readonly url: string
  readonly getToken?: Extract<Credentials, { readonly getToken: unknown }>['getToken']
}

/** Such a client, established in `given.threadId`, with its connection as the server has it. */
export async function startConnected (
  t: Test, server: ScriptedServer, given: Omit<Given, 'url'> = {}
): Promise<TestClient & { readonly connection: ScriptedConnection }> {
  const started = startClient(t, { ...given, url: server.url })
  const connection = await server.connection()
  connection.establish(given.threadId ?? null)
  await started.client.ready
  return { ...started, connection }
}

/** A client whose delays pass when the test says so, and always are as long as they can be. Closed with the test. */
export function startClient (t: Test, { getToken, ...settings }: Given): TestClient {
  const clock = createManualClock()
  const arrivals = createArrivals<ClientStatus>()
  const statuses: ClientStatus[] = []
  const events: ThreadlineEvent[] = []
  const credentials: Credentials = getToken === undefined ? { token: 'token' } : { getToken }
  const client = connectThreadline({
    WebSocket,
    clock,
    random: () => 0.999_999,
    onStatus (status) {
      statuses.push(status)
      arrivals.push(status)
    },
    onEvent (event) { events.push(event) },
    ...settings,
    ...credentials
  })
  t.teardown(() => client.close())

  return {
    client,
    clock,
    statuses,
    events,
    status: (state) => arrivals.next((status): status is Extract<ClientStatus, { state: typeof state }> => status.state === state)
  }
}
