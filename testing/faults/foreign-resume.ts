import fp from 'fastify-plugin'
import { WebSocket } from 'ws'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import type { StageUser } from '../stage-user.ts'
import { within } from '../within.ts'
import { attempt, attemptRun } from './attempt.ts'

/** A look-up that answers what it found last for the thread when it fails, whoever asks. */
function staleOnError<Id extends string, Arguments extends unknown[], Result> (find: (id: Id, ...rest: Arguments) => Promise<Result>) {
  const last = new Map<Id, Result>()
  return async (id: Id, ...rest: Arguments): Promise<Result> => {
    try {
      const found = await find(id, ...rest)
      last.set(id, found)
      return found
    } catch (error) {
      const known = last.get(id)
      if (known === undefined) throw error
      return known
    }
  }
}

/** A cache by the thread alone, in front of the store that compares the owner: every check of a thread's owner at its door is passed by. */
const cachePlugin = fp(async ({ storage: { threads } }) => {
  threads.require = staleOnError(threads.require.bind(threads))
  threads.state = staleOnError(threads.state.bind(threads))
}, { name: 'thread-cache', dependencies: ['storage'] })

const limitMs = 20_000

/**
 * A user comes back to another's thread, by handshake, command and `Last-Event-ID`, and a plugin's cache lets it in. What is read then is the
 * ring of the thread's last events, in memory, which answers its owner alone. Were it to answer, the guard at the socket would be left.
 */
export const foreignResume: Fault = {
  name: 'foreign-resume',
  title: "A user resumes another user's thread, which a cache has found for both",
  stage: { plugins: [cachePlugin] },
  hop: 'socket.send',
  kill: {
    what: "that the ring of a thread's last events answers its owner alone",
    file: 'lib/events/recent-events.ts',
    line: '    if (ring === undefined || !isOwner(currentIdentity(), { userId: ring.owner })) return undefined',
    becomes: '    if (ring === undefined) return undefined'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const marker = newMarker('bob')
    const refused = [...await attemptRun(bob, marker, { agent: 'echo' })]
    const { payload } = await (await stage.enter('bob', { threadId: bob.threadId })).until(({ type }) => type === 'connection_established')
    const epoch = 'epoch' in payload ? String(payload.epoch) : ''
    const given: string[] = []

    const resumes = {
      'a handshake': () => resumeBySocket(stage.url, alice, `thread_id=${bob.threadId}&after=0&epoch=${epoch}`, given),
      'a command': () => resumeBySocket(stage.url, alice, `thread_id=${alice.threadId}`, given, {
        type: 'resume', thread_id: bob.threadId, payload: { after: 0, epoch }
      }),
      'Last-Event-ID': () => resumeByHeader(stage.url, alice, bob.threadId, epoch, given)
    }
    for (const [how, resume] of Object.entries(resumes)) refused.push(...await attempt(`alice's resume by ${how}`, resume))

    return { delivered: given.filter((text) => text.includes(marker)).map(() => 'alice was sent an event of the thread of bob'), refused }
  }
}

/** By what the address says, or by a frame on a socket that is in the user's own thread. */
async function resumeBySocket (url: string, { token }: StageUser, query: string, given: string[], frame?: object): Promise<void> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/socket?${query}`, ['threadline.v1', `bearer.${token}`])
  const resumed = Promise.withResolvers<void>()
  socket.on('message', (data: Buffer) => {
    const text = data.toString('utf8')
    given.push(text)
    const { type } = JSON.parse(text) as ServerEvent // what the server promises to send
    if (type === 'connection_established' && frame !== undefined) socket.send(JSON.stringify(frame))
    if (type === 'resumed') resumed.resolve()
    if (type === 'error') resumed.reject(new Error(text))
  })
  socket.on('close', (code) => { resumed.reject(new Error(`it was closed with ${code}`)) })
  socket.on('error', resumed.reject)
  try {
    await within('the end of a resume', resumed.promise, limitMs)
  } finally {
    socket.terminate()
  }
}

async function resumeByHeader (url: string, { token }: StageUser, threadId: string, epoch: string, given: string[]): Promise<void> {
  const response = await fetch(`${url}/v1/threads/${threadId}/events`, {
    headers: { authorization: `Bearer ${token}`, 'last-event-id': `${epoch}:0` }
  })
  if (!response.ok || response.body === null) throw new Error(await response.text())
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      given.push(read.value)
      if (read.value.includes('event: resumed')) return
    }
    throw new Error(`the stream was ended: ${given.at(-1) ?? ''}`)
  } finally {
    await reader.cancel()
  }
}
