import { defineAgent } from '../../lib/agents/define-agent.ts'
import { currentThread } from '../../lib/context/current-thread.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attemptRun } from './attempt.ts'

/** Acts for somebody else for a moment, as support staff do, by writing another user into the identity that is active. */
const actor = defineAgent({
  name: 'acting-for',
  async * run ({ content, context }) {
    const { customer, thread } = context
    Object.assign(currentThread(), { userId: customer, threadId: thread })
    yield { type: 'thinking', message: 'Looking at what the customer sees' }
    yield { type: 'text', text: `acted for ${content}` }
  }
})

/** An identity is frozen where it is made; whoever could change it would be another user for all that follows in the run. */
export const mutatedIdentity: Fault = {
  name: 'mutated-identity',
  title: 'An agent writes another user into the active identity',
  stage: { agents: [actor] },
  hop: 'emitter',
  kill: {
    what: 'the freezing of an identity',
    file: 'lib/context/identity.ts',
    line: '  return Object.freeze(identity)',
    becomes: '  return identity'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const tabs = [{ user: alice, other: bob, marker: newMarker('alice') }, { user: bob, other: alice, marker: newMarker('bob') }]

    const refused = await Promise.all(tabs.map(async ({ user, other, marker }) => {
      return await attemptRun(user, marker, { agent: 'acting-for', metadata: { customer: other.userId, thread: other.threadId } })
    }))
    const delivered = await findStray(stage.url, tabs)

    return { delivered, refused: refused.flat() }
  }
}
