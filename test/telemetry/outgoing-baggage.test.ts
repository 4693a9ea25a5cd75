import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseKeyPairsIntoRecord } from '@opentelemetry/core'
import t, { type Test } from 'tap'
import { parseBaggageHosts } from '../../lib/telemetry/outgoing-baggage.ts'
import { runWithPreload } from '../support/run-program.ts'

interface Host {
  /** `host:port` */
  readonly authority: string
  readonly received: readonly IncomingHttpHeaders[]
}

async function startHost (t: Test, answer: RequestListener = (_request, response) => { response.end() }): Promise<Host> {
  const received: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    received.push(request.headers)
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close().closeAllConnections() })
  return { authority: `127.0.0.1:${(server.address() as AddressInfo).port}`, received } // listens on TCP
}

interface Sent {
  readonly traceId: string
  /** Of the requests' spans. */
  readonly spans: readonly { readonly address?: string, readonly port?: number, readonly sent?: boolean }[]
  readonly identity: { readonly userId: string, readonly threadId: string, readonly requestId: string }
}

/** Requests each URL by `fetch` and by `node:http`, as the user alice, in a process that has the preload. */
async function sendRequests (baggageHosts: string, urls: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<Sent> {
  const env = { BAGGAGE_HOSTS: baggageHosts, ...more }
  const { exitCode, output, errors } = await runWithPreload('test/telemetry/programs/send-requests.ts', env, urls)
  if (exitCode !== 0) throw new Error(`The program ended with ${exitCode}: ${errors}`)
  return JSON.parse(output) as Sent // what the program writes
}

t.test('a host of the list gets the trace and the identity, any other the trace only', async (t) => {
  const friend = await startHost(t)
  const stranger = await startHost(t)

  const { traceId, identity } = await sendRequests(`elsewhere.example, ${friend.authority}`, [
    `http://${friend.authority}/`, `http://${stranger.authority}/`
  ])

  t.same(friend.received.map((headers) => headers['x-by']), ['fetch', 'http'])
  for (const { traceparent, baggage } of friend.received) {
    t.match(traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-0[01]$`))
    t.same(parseKeyPairsIntoRecord(String(baggage)), {
      'user.id': identity.userId, 'gen_ai.conversation.id': identity.threadId, 'threadline.request.id': identity.requestId
    })
  }
  t.same(stranger.received.map((headers) => headers['x-by']), ['fetch', 'http'])
  for (const { traceparent, baggage } of stranger.received) {
    t.match(traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-0[01]$`))
    t.equal(baggage, undefined)
  }
})

t.test('a host without a port in the list stands for all of its ports', async (t) => {
  const friend = await startHost(t)

  await sendRequests('127.0.0.1', [`http://${friend.authority}/`])

  t.match(friend.received, [{ baggage: /user\.id=alice/ }, { baggage: /user\.id=alice/ }])
})

t.test('without a list no host gets the identity', async (t) => {
  const host = await startHost(t)

  await sendRequests('', [`http://${host.authority}/`])

  t.same(host.received.map(({ baggage }) => baggage), [undefined, undefined])
})

t.test('a host of the list that redirects elsewhere does not take the identity along', async (t) => {
  const stranger = await startHost(t)
  const friend = await startHost(t, (_request, response) => {
    response.writeHead(307, { location: `http://${stranger.authority}/` }).end()
  })

  await sendRequests(friend.authority, [`http://${friend.authority}/`])

  t.match(friend.received[0], { baggage: /user\.id=alice/ })
  t.same(stranger.received.map(({ baggage, 'x-by': by }) => ({ baggage, by })), [{ baggage: undefined, by: 'fetch' }])
})

t.test('a Host header does not make a stranger a host of the list', async (t) => {
  const stranger = await startHost(t)

  await sendRequests('friend.example', [`http://${stranger.authority}/`])

  t.match(stranger.received[1], { host: 'friend.example' })
  t.same(stranger.received.map(({ baggage }) => baggage), [undefined, undefined])
})

// kill: the first line of `baggageHeaderFor` in lib/telemetry/outgoing-baggage.ts that returns; the verifier names it as CTX009.
t.test('the span of a request says whether the identity was sent along, and to whom', async (t) => {
  const friend = await startHost(t)
  const stranger = await startHost(t)
  const portOf = ({ authority }: Host): number => Number(authority.split(':')[1])

  const { spans } = await sendRequests(friend.authority, [`http://${friend.authority}/`, `http://${stranger.authority}/`])

  const [toFriend, toStranger] = [{ address: '127.0.0.1', port: portOf(friend), sent: true }, { address: '127.0.0.1', port: portOf(stranger) }]
  t.same(spans, [toFriend, toFriend, toStranger, toStranger])
})

t.test('the span says so of a header that was set by hand as well', async (t) => {
  const stranger = await startHost(t)

  const { spans } = await sendRequests('', [`http://${stranger.authority}/`], { BY_HAND: 'user.id=alice' })

  t.match(stranger.received, [{ baggage: 'user.id=alice' }, { baggage: 'user.id=alice' }])
  t.same(spans.map(({ sent }) => sent), [true, true])
})

t.test('a list is read without its blanks and in any case', async (t) => {
  t.same([...parseBaggageHosts(' Tools.Example , tools.example:8443,, ')], ['tools.example', 'tools.example:8443'])
  t.same([...parseBaggageHosts(undefined)], [])
})
