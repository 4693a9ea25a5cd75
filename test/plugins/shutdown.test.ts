import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startServer } from '../support/start-server.ts'

t.test('a request that never ends does not keep the server from closing', async (t) => {
  // kill: the timer in plugins/shutdown.ts
  const server = await startServer(t)
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
