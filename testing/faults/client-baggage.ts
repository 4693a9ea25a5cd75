import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { findStray, newMarker, type Marked } from '../markers.ts'
import type { Fault } from '../fault.ts'
import type { StageUser } from '../stage-user.ts'
import { within } from '../within.ts'
import { attempt, attemptRun } from './attempt.ts'

const limitMs = 20_000

/** What a client sends that wants to be taken for somebody else, in that user's thread, run and trace. */
type Claim = Readonly<Record<'baggage' | 'traceparent', string>>

/**
 * Clients may send whatever headers they like, at the handshake, with a request and in a frame. Nothing of it is anybody's identity, and none
 * of it the parent of a trace; with so many entries beside ours, a baggage that was added to would be cut.
 */
export const clientBaggage: Fault = {
  name: 'client-baggage',
  title: "A client's baggage and traceparent name another user, his thread and his trace",
  hop: 'http.request',
  kill: {
    what: 'that no trace begins where a client says',
    file: 'lib/telemetry/outgoing-propagator.ts',
    line: '    extract: (context) => context,',
    becomes: '    extract: (context, carrier, getter) => traceContext.extract(context, carrier, getter),'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const tabs = [{ user: alice, marker: newMarker('alice') }, { user: bob, marker: newMarker('bob') }]
    const refused = [...await attemptRun(bob, tabs[1]?.marker ?? '', { agent: 'echo' })]
    const claim = claimOf(bob)

    const given: string[] = []
    const asked = {
      'a handshake and a frame': () => speak(stage.url, alice, claim, tabs[0]?.marker ?? '', given),
      'a list of threads': () => request(stage.url, alice, claim, 'GET', '/v1/threads', given),
      'a message over HTTP': () => request(stage.url, alice, claim, 'POST', `/v1/threads/${alice.threadId}/runs/stream`, given, { content: tabs[0]?.marker, agent: 'echo' })
    }
    for (const [what, ask] of Object.entries(asked)) refused.push(...await attempt(what, ask))

    return { delivered: [...strayIn(given, tabs), ...await findStray(stage.url, tabs)], refused }
  }
}

function claimOf ({ threadId, received }: StageUser): Claim {
  const told = received.find(({ type }) => type === 'agent_completed')
  const [, traceId = ''] = told?.traceparent?.split('-') ?? []
  if (told?.run_id === undefined || traceId === '') throw new Error('No event of bob says its run and its trace')
  const entries = ['user.id=bob', `gen_ai.conversation.id=${threadId}`, `threadline.run.id=${encodeURIComponent(told.run_id)}`]
  const padding = Array.from({ length: 172 }, (_entry, index) => `padding-${index}=x`)
  return { baggage: [...entries, ...padding].join(','), traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` }
}

/** A message over a socket of its own, with the claim in the handshake's headers and in the frame. */
async function speak (url: string, { token, threadId }: StageUser, claim: Claim, content: string, given: string[]): Promise<void> {
  const address = `${url.replace('http', 'ws')}/v1/socket?thread_id=${threadId}`
  const socket = new WebSocket(address, ['threadline.v1', `bearer.${token}`], { headers: claim })
  const ended = Promise.withResolvers<void>()
  socket.on('message', (data: Buffer) => {
    given.push(data.toString('utf8'))
    const { type } = JSON.parse(data.toString('utf8')) as ServerEvent // what the server promises to send
    if (type === 'agent_completed') ended.resolve()
    if (type === 'error') ended.reject(new Error(data.toString('utf8')))
  })
  try {
    await within('the handshake', once(socket, 'open'), limitMs)
    socket.send(JSON.stringify({ type: 'user_message', traceparent: claim.traceparent, payload: { content, agent: 'echo' } }))
    await within('the end of a run', ended.promise, limitMs)
  } finally {
    socket.terminate()
  }
}

async function request (url: string, { token }: StageUser, claim: Claim, method: string, path: string, given: string[], body?: object): Promise<void> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { ...claim, authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  const text = await response.text()
  given.push(text)
  if (!response.ok) throw new Error(text)
}

function strayIn (given: readonly string[], [, other]: readonly Marked[]): readonly string[] {
  if (other === undefined) return []
  const { user: { userId, threadId }, marker } = other
  return given.filter((text) => text.includes(marker) || text.includes(threadId)).map(() => `alice was given what is of ${userId}`)
}
