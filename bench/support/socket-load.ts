import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { ServerAddress } from './measured-server.ts'

/** Clients of one server, each of which sends its next message when the one before is answered. */
export interface SocketLoad {
  /** Resolves when this many messages, of all clients together, have been answered; rejects when a socket closes. */
  exchange (messages: number): Promise<void>
  close (): Promise<void>
}

export interface LoadOptions {
  readonly clients: number
  readonly frame: string
  /** Whether a frame of the server is the answer to the last message; throws for one that must not come. */
  readonly isAnswer: (frame: string) => boolean
}

export async function openLoad ({ url, offers }: ServerAddress, { clients, frame, isAnswer }: LoadOptions): Promise<SocketLoad> {
  const sockets = await Promise.all(Array.from({ length: clients }, async (_, index) => {
    const socket = new WebSocket(url, [...offers[index % offers.length] ?? []])
    await once(socket, 'open')
    return socket
  }))

  return {
    async exchange (messages) {
      let unsent = messages
      await Promise.all(sockets.map(async (socket) => {
        while (unsent > 0) {
          unsent -= 1
          await ask(socket, frame, isAnswer)
        }
      }))
    },
    async close () {
      await Promise.all(sockets.map(async (socket) => {
        socket.close()
        await once(socket, 'close')
      }))
    }
  }
}

async function ask (socket: WebSocket, frame: string, isAnswer: LoadOptions['isAnswer']): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const lost = (): void => { reject(new Error('The server closed a socket')) }
  const receive = (data: Buffer): void => {
    try {
      if (isAnswer(data.toString('utf8'))) resolve()
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)))
    }
  }
  socket.on('message', receive)
  socket.on('close', lost)
  try {
    socket.send(frame)
    await promise
  } finally {
    socket.off('message', receive)
    socket.off('close', lost)
  }
}
