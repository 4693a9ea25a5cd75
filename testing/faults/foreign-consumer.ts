import { defineAgent, type AgentInput } from '../../lib/agents/define-agent.ts'
import { bindIterable } from '../../lib/context/bind.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attemptRun } from './attempt.ts'
import { noteTool } from './note-tool.ts'
import { Rooms } from './rooms.ts'

const lectureHalls = new Rooms(() => ({
  announced: Promise.withResolvers<AsyncIterable<number>>(), heard: Promise.withResolvers<void>()
}))

/** Each step keeps a note in the lecturer's own thread, and then says how far it is, which is no secret. */
async function * lecture ({ content, callTool }: AgentInput): AsyncGenerator<number> {
  for (const step of [1, 2]) {
    await callTool('note', { text: `${step} ${content}` })
    yield step
  }
}

const lecturer = defineAgent({
  name: 'lecturer',
  tools: [noteTool],
  async * run (input) {
    const { announced, heard } = lectureHalls.of(input.context)
    announced.resolve(bindIterable(lecture(input)))
    await heard.promise
    yield { type: 'text', text: `lectured on ${input.content}` }
  }
})

const listener = defineAgent({
  name: 'lecture-listener',
  async * run ({ content, context }) {
    const { announced, heard } = lectureHalls.of(context)
    try {
      for await (const step of await announced.promise) yield { type: 'text', text: `${step}. ` }
    } finally {
      heard.resolve()
    }
    yield { type: 'text', text: `heard for ${content}` }
  }
})

/** A generator is handed over from run to run, as a team does that has one source for many listeners. It is bound where it is handed over. */
export const foreignConsumer: Fault = {
  name: 'foreign-consumer',
  title: "An async generator that was made in one user's run is consumed in another's",
  stage: { agents: [lecturer, listener] },
  hop: 'emitter',
  kill: {
    what: 'the context in which bindIterable produces each item',
    file: 'lib/context/bind.ts',
    line: '        next: async () => await inside(() => iterator.next()),',
    becomes: '        next: async () => await iterator.next(),'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const markers = { alice: newMarker('alice'), bob: newMarker('bob') }
    const metadata = { room: newMarker('room') }

    const refused = await Promise.all([
      attemptRun(alice, markers.alice, { agent: 'lecturer', metadata }),
      attemptRun(bob, markers.bob, { agent: 'lecture-listener', metadata })
    ])
    const delivered = await findStray(stage.url, [{ user: alice, marker: markers.alice }, { user: bob, marker: markers.bob }])

    return { delivered, refused: refused.flat() }
  }
}
