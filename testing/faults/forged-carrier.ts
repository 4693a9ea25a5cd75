import fp from 'fastify-plugin'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { currentIdentity } from '../../lib/context/current-thread.ts'
import { activeTraceparent } from '../../lib/context/traceparent.ts'
import { newEventId, toRunId, toThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attempt, attemptRun } from './attempt.ts'
import { Rooms } from './rooms.ts'

const jobs = new Rooms(() => Promise.withResolvers<void>())

/** Waits for a job that is done elsewhere, and that reports how far it is. */
const waiter = defineAgent({
  name: 'job-waiter',
  async * run ({ content, context }) {
    await jobs.of(context).promise
    yield { type: 'text', text: `waited for ${content}` }
  }
})

interface Progress { readonly user_id: string, readonly thread_id: string, readonly run_id: string, readonly message: string }

/** Takes reports of jobs, and believes what they say of the run that they are for. */
const progressPlugin = fp(async (app) => {
  app.post<{ Body: Progress }>('/faults/progress', async ({ body }) => {
    const traceparent = activeTraceparent()
    await app.eventLog.append({
      type: 'agent_thinking',
      event_id: newEventId(),
      timestamp: new Date().toISOString(),
      user_id: toUserId(body.user_id),
      thread_id: toThreadId(body.thread_id),
      run_id: toRunId(body.run_id),
      request_id: currentIdentity().requestId,
      agent_name: 'job-waiter',
      payload: { message: body.message, step: 0 },
      ...(traceparent === undefined ? {} : { traceparent })
    }, 1)
    return {}
  })
}, { name: 'progress', dependencies: ['event-log', 'authentication'] })

/**
 * An event whose carrier names another user's run, which exists and is running: for the database it is that user's event, since each event is
 * stored in the name of the user that it names. What refuses it is the comparison with the active identity, before it is stored.
 */
export const forgedCarrier: Fault = {
  name: 'forged-carrier',
  title: "A user's request stores an event whose carrier names another user's run",
  stage: { agents: [waiter], plugins: [progressPlugin] },
  hop: 'socket.send',
  kill: {
    what: 'the comparison of an event with the active identity before it is stored',
    file: 'lib/events/stored-event-log.ts',
    line: "      guard({ userId: event.user_id, threadId: event.thread_id, runId: event.run_id }, 'event-log')",
    becomes: ''
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const markers = { alice: newMarker('alice'), bob: newMarker('bob') }
    const room = newMarker('room')
    const waiting = attemptRun(bob, markers.bob, { agent: 'job-waiter', metadata: { room } })
    const { run_id: runId } = await bob.until(({ type, run_id: id }) => type === 'agent_thinking' && id !== undefined)

    const refused = [...await attempt('a report of alice', async () => {
      const response = await fetch(`${stage.url}/faults/progress`, {
        method: 'POST',
        headers: { authorization: `Bearer ${alice.token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ user_id: 'bob', thread_id: bob.threadId, run_id: runId, message: markers.alice })
      })
      if (!response.ok) throw new Error(await response.text())
    })]
    jobs.of({ room }).resolve()
    refused.push(...await waiting)
    const delivered = await findStray(stage.url, [{ user: alice, marker: markers.alice }, { user: bob, marker: markers.bob }])

    return { delivered, refused }
  }
}
