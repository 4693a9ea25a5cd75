import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attempt } from './attempt.ts'

/**
 * The product's own boundary: a frame is handled where no identity is active, and its thread has to be looked up first. Two users write at
 * the same time, each from a tab that shows another of their threads than the one that the frame names.
 */
export const lostBeforeHandler: Fault = {
  name: 'lost-before-handler',
  title: 'The identity of a message gets lost between its socket and its handler',
  hop: 'handler',
  kill: {
    what: 'the identity that each frame enters once its thread has been checked',
    file: 'lib/gateway/receive-frame.ts',
    line: '      return await enterThread(identity, () => answeringErrors(view, options.logger, async () => {',
    becomes: '      return await (<T>(_identity: unknown, fn: () => T, _options: unknown) => fn())(identity, () => answeringErrors(view, options.logger, async () => {'
  },
  async provoke (stage) {
    const tabs = await Promise.all(['alice', 'bob'].map(async (userId) => {
      const shown = await stage.enter(userId)
      const named = await stage.enter(userId)
      return { shown, named, marker: newMarker(userId), shownMarker: newMarker(userId) }
    }))

    const refused = await Promise.all(tabs.map(async ({ shown, named, marker }) => await attempt(`a message of ${shown.userId}`, async () => {
      const answer = await shown.ask({ type: 'user_message', thread_id: named.threadId, payload: { content: marker, agent: 'echo' } })
      if (answer.type !== 'message_accepted') throw new Error(JSON.stringify(answer.payload))
      await named.until((event) => event.type === 'agent_completed')
    })))
    const delivered = await findStray(stage.url, tabs.flatMap(({ shown, named, marker, shownMarker }) => [
      { user: named, marker }, { user: shown, marker: shownMarker }
    ]))

    return { delivered, refused: refused.flat() }
  }
}
