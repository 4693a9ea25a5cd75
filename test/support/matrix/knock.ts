import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'

/**
 * Asks for a WebSocket and sends a frame in the same breath, before anybody can have said yes. Resolves with the answer to the handshake, and what
 * followed until the server hung up.
 */
export async function knock (url: string, { path, token, frame }: { readonly path: string, readonly token: string | undefined, readonly frame: object }): Promise<string> {
  const { hostname, port, host } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const head = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: threadline.v1',
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`])
  ]
  socket.write(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), textFrame(JSON.stringify(frame))]))
  return await text(socket)
}

/** A text as a client sends it: final, masked, of a length that two bytes tell (RFC 6455, section 5.2). */
function textFrame (content: string): Buffer {
  const mask = randomBytes(4)
  const payload = Buffer.from(content).map((byte, index) => byte ^ (mask[index % 4] ?? 0))
  const head = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff])
  return Buffer.concat([head, mask, payload])
}
