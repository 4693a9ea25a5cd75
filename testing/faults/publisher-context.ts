import { EventEmitter } from 'node:events'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attemptRun } from './attempt.ts'
import { noteTool } from './note-tool.ts'
import { Rooms } from './rooms.ts'

/** One emitter for all runs, and who waits for it. */
const newsrooms = new Rooms(() => ({ news: new EventEmitter(), subscribed: Promise.withResolvers<void>() }))

/** Subscribes without binding: what the listener does, it does in the context of whoever publishes. */
const reader = defineAgent({
  name: 'news-reader',
  tools: [noteTool],
  async * run ({ content, context, callTool }) {
    const { news, subscribed } = newsrooms.of(context)
    const noted = Promise.withResolvers<void>()
    news.once('published', () => { callTool('note', { text: content }).then(() => { noted.resolve() }, noted.reject) })
    subscribed.resolve()
    await noted.promise
    yield { type: 'text', text: `noted ${content}` }
  }
})

const publisher = defineAgent({
  name: 'news-publisher',
  async * run ({ content, context }) {
    const { news, subscribed } = newsrooms.of(context)
    await subscribed.promise
    news.emit('published')
    yield { type: 'text', text: `published ${content}` }
  }
})

/** An agent's own emitter: one user's run listens, another's publishes. The listener calls a tool of its run, which tells events. */
export const publisherContext: Fault = {
  name: 'publisher-context',
  title: "A subscriber of a shared emitter does its work in the publisher's context",
  stage: { agents: [reader, publisher] },
  hop: 'emitter',
  kill: {
    what: "the emitter's refusal of another run",
    file: 'lib/emitter/emitter.ts',
    line: "  const checkOwner = (): void => { guard({ userId, threadId, runId }, 'emitter') }",
    becomes: '  const checkOwner = (): void => {}'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const markers = { alice: newMarker('alice'), bob: newMarker('bob') }
    const metadata = { room: newMarker('room') }

    const refused = await Promise.all([
      attemptRun(bob, markers.bob, { agent: 'news-reader', metadata }),
      attemptRun(alice, markers.alice, { agent: 'news-publisher', metadata })
    ])
    const delivered = await findStray(stage.url, [{ user: alice, marker: markers.alice }, { user: bob, marker: markers.bob }])

    return { delivered, refused: refused.flat() }
  }
}
