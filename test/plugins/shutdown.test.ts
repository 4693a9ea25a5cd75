import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { fewerNodes } from '../support/fewer-nodes.ts'
import { startServer } from '../support/start-server.ts'

t.test('a request that never ends does not keep the server from closing', async (t) => {
  // kill: the timer in plugins/shutdown.ts
  const server = await startServer(t, { only: fewerNodes.closing })
  const { port } = new URL(server.url)
  const half = connect(Number(port), '127.0.0.1')
  await once(half, 'connect')
  half.write('POST /v1/tickets HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{')
  const cutOff = once(half, 'close')
  half.on('error', () => {}) // the cut is seen as an error, too
  half.resume()

  await server.close()

  await cutOff
  t.equal(server.app.server.listening, false)
})

t.test('a request that comes while the server closes is refused as every other one is', async (t) => {
  const server = await startServer(t, { only: fewerNodes.closing })
  const tab = await server.connect('alice')
  const late = connect(Number(new URL(server.url).port), '127.0.0.1')
  await once(late, 'connect')
  late.write('GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n')

  const closed = server.close()
  await tab.closed
  late.write('\r\n')
  const [head = '', body = ''] = (await text(late)).split('\r\n\r\n')
  await closed

  t.match(head, /^HTTP\/1\.1 503 /)
  t.match(head, /^connection: close$/im)
  t.match(JSON.parse(body), { error: { code: 'THREADLINE_SHUTTING_DOWN', request_id: /^x-request-id: (.*)$/m.exec(head)?.[1] } })
})
