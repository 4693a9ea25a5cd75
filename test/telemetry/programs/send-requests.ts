/**
 * Sends a request to each URL of the command line by `fetch` and by `node:http`, in a span and an identity. With `BY_HAND` each has a `baggage` header of
 * its own, the second set after the request was made. Exits when all have answered, and tells what their spans say.
 */
import { once } from 'node:events'
import { get, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { SpanKind } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { attributes } from '../../../lib/context/attributes.ts'
import { createIdentity } from '../../../lib/context/identity.ts'
import { enterThread } from '../../../lib/context/current-thread.ts'
import { withHop } from '../../../lib/context/hop.ts'
import { newThreadId, toUserId } from '../../../lib/protocol/ids.ts'
import { endedSpans } from '../../../lib/telemetry/span-channels.ts'

const identity = createIdentity({ userId: toUserId('alice'), threadId: newThreadId() })
const urls = process.argv.slice(2)
const byHand = process.env['BY_HAND']
const spans: { readonly [name: string]: unknown }[] = []
endedSpans.subscribe((span) => {
  const { attributes: said, kind } = span as ReadableSpan // what the channel carries
  if (kind === SpanKind.CLIENT) spans.push({ address: said['server.address'], port: said['server.port'], sent: said[attributes.baggageSent] })
})

const { traceId } = await enterThread(identity, async () => await withHop('tool', {}, async (span) => {
  for (const url of urls) {
    await (await fetch(url, { headers: { 'x-by': 'fetch', ...(byHand === undefined ? {} : { Baggage: byHand }) } })).arrayBuffer()
    const options = { headers: { 'x-by': 'http', Host: 'friend.example' } }
    const sent = byHand === undefined ? get(url, options) : request(url, options).setHeader('Baggage', byHand).end()
    const [response] = await once(sent, 'response')
    await buffer(response)
  }
  return span.spanContext()
}))

process.stdout.write(JSON.stringify({ traceId, identity, spans }))
