import type { MessageView, RunView, ServerEvent, ThreadEvent } from '../../../lib/protocol/events.ts'
import { isEvent } from '../is-event.ts'
import { openSocket, TestSocket } from '../test-socket.ts'
import { within } from '../within.ts'
import type { ThreadRecord } from './history.ts'

interface Reader { readonly url: string, readonly token: string, readonly user: string, readonly threadId: string }

/** All of a thread, as its user reads it over the API of a node: messages and runs over HTTP, events as a client that has seen none. */
export async function readThread (reader: Reader): Promise<ThreadRecord> {
  const { user, threadId } = reader
  const [messages, runs, events] = await Promise.all([
    getPages<MessageView>(reader, 'messages', ({ message_id: id }) => id),
    getPages<RunView>(reader, 'runs', ({ run_id: id }) => id),
    readEvents(reader)
  ])
  const kept = runs.map(({ run_id: runId, message_id: messageId, status }) => ({ runId, messageId, status }))
  return { user, threadId, events, messages, runs: kept }
}

/** A new thread of a user. */
export async function createThread ({ url, token }: Omit<Reader, 'threadId' | 'user'>): Promise<{ readonly threadId: string }> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const response = await fetch(`${url}/v1/threads`, { method: 'POST', headers, body: '{}' })
  if (!response.ok) throw new Error(`No thread: ${response.status} ${await response.text()}`)
  return { threadId: (await response.json() as { thread_id: string }).thread_id }
}

/** All messages of the visible branch, or all runs: page by page, until there is no older one. */
async function getPages<Item extends { readonly created_at: string }> (reader: Reader, what: 'messages' | 'runs', idOf: (item: Item) => string): Promise<readonly Item[]> {
  const items: Item[] = []
  for (let before = ''; ;) {
    const body = await get<Record<string, unknown>>(reader, `/v1/threads/${reader.threadId}/${what}?limit=50${before}`)
    const page = body[what] as readonly Item[] // the contract's tests hold the server to it
    const newestFirst = what === 'messages' ? page.toReversed() : page
    items.push(...newestFirst)
    const oldest = newestFirst.at(-1)
    if (body['has_more'] !== true || oldest === undefined) return items.toReversed()
    before = `&before=${idOf(oldest)}`
  }
}

async function get<Body> ({ url, token }: Reader, path: string): Promise<Body> {
  const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}` } })
  if (!response.ok) throw new Error(`${path} was answered with ${response.status} ${await response.text()}`)
  return await response.json() as Body // the contract's tests hold the server to it
}

async function readEvents (reader: Reader): Promise<readonly ThreadEvent[]> {
  const { epoch } = await get<{ epoch: string }>(reader, `/v1/threads/${reader.threadId}`)
  const query = new URLSearchParams({ thread_id: reader.threadId, after: '0', epoch })
  const socket = await openSocket(`${reader.url.replace('http', 'ws')}/v1/socket?${query.toString()}`, { protocols: ['threadline.v1', `bearer.${reader.token}`] })
  if (!(socket instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(socket)}`)
  const answer = await within('the log to be read', socket.next(({ type }) => type === 'resumed' || type === 'resync_required'))
  await socket.close()
  if (!isEvent(answer, 'resumed')) throw new Error(`The log is not there: ${JSON.stringify(answer.payload)}`)
  return socket.events.filter((event: ServerEvent): event is ThreadEvent => event.sequence !== undefined && event.sequence <= answer.payload.sequence)
}
