import fp from 'fastify-plugin'
import type { Connection } from '../../lib/gateway/connection.ts'
import { toThreadId } from '../../lib/protocol/ids.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import type { StageUser } from '../stage-user.ts'
import { attempt, attemptRun } from './attempt.ts'

/** Channels by a name: whoever joins with a thread hears the channel, and what happens in the thread is published there. */
const channelsPlugin = fp(async (app) => {
  const channels = new Map<string, Set<Connection>>()
  app.post<{ Body: { channel: string, thread_id: string } }>('/faults/channels', async ({ body }) => {
    const threadId = toThreadId(body.thread_id)
    const members = channels.get(body.channel) ?? new Set()
    channels.set(body.channel, members)
    for (const connection of app.gateway.registry.getUserConnectionsByThread(threadId)) members.add(connection)
    app.eventLog.follow(threadId, (event) => {
      const frame = JSON.stringify(event)
      for (const connection of members) if (connection.threadId !== threadId) app.gateway.subscriptions.send(connection, event, frame)
    })
    return {}
  })
}, { name: 'channels', dependencies: ['gateway', 'event-log', 'authentication'] })

/** Threads of two users, and of one of them another thread, share a channel: each event is published to all who are in it. */
export const wrongChannel: Fault = {
  name: 'wrong-channel',
  title: "An event is published to another thread's channel",
  stage: { plugins: [channelsPlugin] },
  hop: 'socket.send',
  kill: {
    what: 'the comparison of a connection with the event, at the last step before it is written',
    file: 'lib/gateway/connection.ts',
    line: "    guard({ userId: this.userId, threadId: this.threadId ?? null }, 'socket.send')",
    becomes: ''
  },
  async provoke (stage) {
    const tabs = await Promise.all(['alice', 'alice', 'bob'].map(async (userId) => ({ user: await stage.enter(userId), marker: newMarker(userId) })))

    const refused = await Promise.all(tabs.map(async ({ user }) => await attempt(`${user.userId} in the channel`, async () => { await join(stage.url, user) })))
    refused.push(...await Promise.all(tabs.map(async ({ user, marker }) => await attemptRun(user, marker, { agent: 'echo' }))))
    const delivered = await findStray(stage.url, tabs)

    return { delivered, refused: refused.flat() }
  }
}

async function join (url: string, { token, threadId }: StageUser): Promise<void> {
  const response = await fetch(`${url}/faults/channels`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ channel: 'general', thread_id: threadId })
  })
  if (!response.ok) throw new Error(await response.text())
}
