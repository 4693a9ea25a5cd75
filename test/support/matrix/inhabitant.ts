import { randomBytes } from 'node:crypto'
import type { ServerEvent } from '../../../lib/protocol/events.ts'
import { toUserId } from '../../../lib/protocol/ids.ts'
import type { TestServer } from '../start-server.ts'
import type { TestSocket } from '../test-socket.ts'
import { call } from './call.ts'
import type { Ids } from './ids.ts'

/** A user with a thread that has been talked in, a second one, and one that they have deleted. */
export interface Inhabitant {
  readonly user: string
  readonly token: string
  /** In the thread. */
  readonly socket: TestSocket
  readonly ids: Ids
  /** The same, with the deleted thread and what was said in it. */
  readonly deleted: Ids
  /** Texts of which none may ever be seen by another user. */
  readonly secrets: readonly string[]
}

export async function settle (server: TestServer, name: string): Promise<Inhabitant> {
  const user = `${name}-${randomBytes(4).toString('hex')}`
  const word = `otter${randomBytes(6).toString('hex')}`
  const token = await server.token(user)
  const socket = await server.connect(user)
  const deleted = await converse(socket, word)
  await ask(socket, 'delete_thread', { thread_id: deleted.thread })
  await converse(socket, word)
  const talk = await converse(socket, word)
  const { next_cursor: threadCursor } = (await ask<'thread_list'>(socket, 'list_threads', { limit: 1 })).payload
  const { next_cursor: searchCursor } = (await ask<'search_results'>(socket, 'search_threads', { query: word, limit: 1 })).payload
  if (threadCursor === null || searchCursor === null) throw new Error('There is no second page')

  const own = { threadCursor, searchCursor, word, token }
  const ids = { ...talk, ...own }
  return { user, token, socket, ids, deleted: { ...deleted, ...own }, secrets: [user, word, ...Object.values(talk), ...Object.values(deleted)] }
}

/** A thread of its own, in which the connection then is, with a message and its answer. */
async function converse (socket: TestSocket, word: string): Promise<Omit<Ids, 'threadCursor' | 'searchCursor' | 'word' | 'token'>> {
  const { payload: { thread_id: thread } } = await ask<'thread_created'>(socket, 'create_thread', { title: `About ${word}`, metadata: { word } })
  await ask(socket, 'switch_thread', { thread_id: thread })
  const { payload: { message_id: message, run_id: run } } = await ask<'message_accepted'>(socket, 'user_message', { content: `${word} please`, metadata: { word } })
  const { payload: { message_id: answer } } = await socket.until('agent_completed', (event) => event.run_id === run)
  if (answer === undefined) throw new Error('The run has no answer')
  return { thread, frame: thread, message, answer, run, beforeMessage: answer, beforeRun: run }
}

async function ask<Type extends ServerEvent['type']> (socket: TestSocket, type: string, payload: object): Promise<ServerEvent<Type>> {
  const answer = await socket.ask({ type, payload })
  if (answer.type === 'error') throw new Error(`${type} was refused: ${JSON.stringify(answer.payload)}`)
  return answer as ServerEvent<Type> // the answer to the command that was sent
}

/** The same user in one more thread, which may be used up. */
export async function moveOn ({ socket, ids }: Inhabitant): Promise<Ids> {
  return { ...ids, ...await converse(socket, ids.word) }
}

/** What the user can read of what they have, as text. */
export async function inventory (server: TestServer, { token, ids: { thread, run } }: Inhabitant): Promise<string> {
  const paths = [
    ...['active', 'archived', 'deleted'].map((state) => `/v1/threads?state=${state}`),
    ...['', '/messages', '/runs'].map((part) => `/v1/threads/${thread}${part}`),
    `/v1/runs/${run}`
  ]
  const answers = await Promise.all(paths.map(async (path) => (await call(server.url, { method: 'GET', path, token })).text))
  return answers.join('\n')
}

/** A token that was good until a minute ago. */
export async function expiredToken ({ app }: TestServer, user: string): Promise<string> {
  const { developmentTokens } = app.authentication
  if (developmentTokens === undefined) throw new Error('The server does not sign tokens')
  return (await developmentTokens.sign({ userId: toUserId(user), expiresInSeconds: -60 })).token
}
