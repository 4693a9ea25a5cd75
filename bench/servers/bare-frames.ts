import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { WebSocketServer } from 'ws'
import { readCpuTime } from '../support/cpu-time.ts'
import type { ServerAddress } from '../support/measured-server.ts'
import { answerQuestions } from '../support/program.ts'

/**
 * `ws` and nothing else. Whoever connects with `?frames=n` is sent the last n of the frames that it was given; the others are greeted, and
 * sent what is broadcast, one frame in each turn of the event loop.
 */

let kept: readonly string[] = []
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
server.on('connection', (socket, request) => {
  const wanted = new URL(request.url ?? '/', 'ws://localhost').searchParams.get('frames')
  for (const frame of wanted === null ? ['{}'] : kept.slice(-Number(wanted))) socket.send(frame)
})

const questions = {
  async start (): Promise<ServerAddress> {
    if (server.address() === null) await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('It listens on a port')
    return { url: `ws://127.0.0.1:${address.port}`, offers: [] }
  },
  cpu: readCpuTime,
  keep (frames: readonly string[]): void { kept = frames },
  async broadcast (times: number): Promise<void> {
    const frame = kept.at(-2) ?? '' // the last one says that this was all
    for (let time = 0; time < times; time += 1) {
      for (const socket of server.clients) socket.send(frame)
      await turn()
    }
  }
}
answerQuestions(questions)

export type BareFrames = typeof questions
