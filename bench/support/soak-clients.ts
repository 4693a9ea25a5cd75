import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newMarker } from './marker.ts'
import { answerQuestions } from './program.ts'
import { RecordingSocket, type SocketRecord } from './recording-socket.ts'

/** The users, in a process of their own: each chat is one thread with one socket and one message. */

export interface ChatRecord extends SocketRecord {
  readonly user: string
  readonly threadId: string
  readonly connectionId: string
  readonly runId: string | undefined
  /** The word in its message. */
  readonly marker: string
}

export interface OpenRequest {
  /** `ws://…/v1/socket` */
  readonly url: string
  readonly agent: string
  /** One chat each; a user may have several. */
  readonly chats: readonly { readonly user: string, readonly token: string }[]
}

interface Chat {
  readonly user: string
  readonly agent: string
  readonly marker: string
  readonly threadId: string
  readonly connectionId: string
  readonly socket: RecordingSocket
  runId: string | undefined
}

let chats: readonly Chat[] = []

const questions = {
  /** Makes the threads and connects to them; all sockets are open when it is answered. */
  async open ({ url, agent, chats: wanted }: OpenRequest): Promise<void> {
    chats = await Promise.all(wanted.map((chat) => openChat(url, agent, chat)))
  },

  /** Sends every message at once. Answered when each socket has seen its run end, and everything that was sent to it by then. */
  async talk (): Promise<void> {
    await Promise.all(chats.map(talk))
    await Promise.all(chats.map(({ socket }) => socket.ask({ type: 'get_thread_history', payload: {} }, limit())))
  },

  async close (): Promise<readonly ChatRecord[]> {
    await Promise.all(chats.map(({ socket }) => socket.close()))
    return chats.map(({ user, threadId, connectionId, runId, marker, socket }) => ({
      user, threadId, connectionId, runId, marker, ...socket.record
    }))
  }
}

export type SoakClients = typeof questions

answerQuestions(questions)

/** Nothing here waits for longer. */
function limit (): AbortSignal {
  return AbortSignal.timeout(120_000)
}

async function openChat (url: string, agent: string, { user, token }: OpenRequest['chats'][number]): Promise<Chat> {
  const first = await RecordingSocket.connect(url, token, limit())
  const created = await first.ask({ type: 'create_thread', payload: {} }, limit()) as ServerEvent<'thread_created'> // or the next line fails
  const threadId = created.payload.thread_id
  await first.close()

  const socket = await RecordingSocket.connect(`${url}?thread_id=${threadId}`, token, limit())
  const established = await socket.next(({ type }) => type === 'connection_established', limit())
  const { connection_id: connectionId } = (established as ServerEvent<'connection_established'>).payload // its type was compared
  return { user, agent, marker: newMarker(), threadId, connectionId, socket, runId: undefined }
}

async function talk (chat: Chat): Promise<void> {
  const { agent, marker, socket } = chat
  const content = `Please bring back ${marker}`
  const accepted = await socket.ask({ type: 'user_message', payload: { content, agent } }, limit()) as ServerEvent<'message_accepted'>
  if (accepted.type !== 'message_accepted') throw new Error(`Not accepted: ${JSON.stringify(accepted)}`)
  chat.runId = accepted.payload.run_id
  await socket.next((event) => event.type === 'agent_completed' && event.run_id === chat.runId, limit())
}
