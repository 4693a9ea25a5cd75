/** Sends a request to each URL of the command line by `fetch` and by `node:http`, in a span and an identity. Exits when all have answered. */
import { once } from 'node:events'
import { get } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { createIdentity } from '../../../lib/context/identity.ts'
import { enterThread } from '../../../lib/context/current-thread.ts'
import { withHop } from '../../../lib/context/hop.ts'
import { newThreadId, toUserId } from '../../../lib/protocol/ids.ts'

const identity = createIdentity({ userId: toUserId('alice'), threadId: newThreadId() })
const urls = process.argv.slice(2)

const { traceId } = await enterThread(identity, async () => await withHop('tool', {}, async (span) => {
  for (const url of urls) {
    await (await fetch(url, { headers: { 'x-by': 'fetch' } })).arrayBuffer()
    const [response] = await once(get(url, { headers: { 'x-by': 'http', Host: 'friend.example' } }), 'response')
    await buffer(response)
  }
  return span.spanContext()
}))

process.stdout.write(JSON.stringify({ traceId, identity }))
