import { defineAgent } from '../../lib/agents/define-agent.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import type { StageUser } from '../stage-user.ts'
import { attempt } from './attempt.ts'
import { Rooms } from './rooms.ts'

const halls = new Rooms(() => Promise.withResolvers<void>())

/** Holds its thread's queue up until it is told to go on. */
const holder = defineAgent({
  name: 'queue-holder',
  async * run ({ content, context }) {
    await halls.of(context).promise
    yield { type: 'text', text: `held for ${content}` }
  }
})

/**
 * A message that waits in the queue is taken from it by a loop that another message has started: nothing but what is stored with the run
 * ties the two ends together.
 */
export const lostCarrier: Fault = {
  name: 'lost-carrier',
  title: 'A run is taken from the queue without the carrier of its message',
  stage: { agents: [holder] },
  hop: 'handler',
  kill: {
    what: 'the carrier that is stored with a run',
    file: 'lib/handlers/accept-run.ts',
    line: '  const traceparent = activeTraceparent()',
    becomes: '  const traceparent = undefined'
  },
  async provoke (stage) {
    const tabs = await Promise.all(['alice', 'bob'].map(async (userId) => ({ user: await stage.enter(userId), marker: newMarker(userId) })))

    const refused = await Promise.all(tabs.map(async ({ user, marker }) => await attempt(`the messages of ${user.userId}`, async () => {
      await waitInQueue(user, marker)
    })))
    const delivered = await findStray(stage.url, tabs)

    return { delivered, refused: refused.flat() }
  }
}

/** Two messages, of which the second has to wait for the first. */
async function waitInQueue (user: StageUser, marker: string): Promise<void> {
  const room = newMarker('room')
  const first = user.say(marker, { agent: 'queue-holder', metadata: { room } })
  await user.until(({ type }) => type === 'agent_started')
  const second = user.say(marker, { agent: 'echo' })
  await user.until(({ type }) => type === 'run_queued')
  halls.of({ room }).resolve()
  await Promise.all([first, second])
}
