import { context, type Context } from '@opentelemetry/api'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attemptRun } from './attempt.ts'
import { Rooms } from './rooms.ts'

/** The context of whoever came last, which a helper "restores". */
const visits = new Rooms(() => ({ kept: Promise.withResolvers<Context>(), restored: Promise.withResolvers<void>() }))

const keeper = defineAgent({
  name: 'context-keeper',
  async * run (input) {
    const { kept, restored } = visits.of(input.context)
    kept.resolve(context.active())
    await restored.promise
    yield { type: 'text', text: `kept for ${input.content}` }
  }
})

const restorer = defineAgent({
  name: 'context-restorer',
  async * run (input) {
    const { kept, restored } = visits.of(input.context)
    const found = await kept.promise
    yield { type: 'text', text: 'now ' }
    await restore(found)
    restored.resolve()
    yield { type: 'text', text: `restored for ${input.content}` }
  }
})

/** What somebody writes who wants to have no callback: it takes effect where it is called, and stays. */
async function restore (found: Context): Promise<void> {
  const { _asyncLocalStorage: storage } = contextManager()
  storage.enterWith(found)
}

interface ContextManager { readonly _asyncLocalStorage: { enterWith (found: Context): void } }

/** OpenTelemetry's own, with its storage, which is nobody's business. */
function contextManager (): ContextManager {
  return (context as unknown as { _getContextManager (): ContextManager })._getContextManager() // private to the API
}

/** An agent that enters another user's context with `enterWith`, in a helper that it awaits. */
export const enterWithInHelper: Fault = {
  name: 'enter-with',
  title: "A helper that is awaited enters another user's context, and stays there",
  stage: { agents: [keeper, restorer] },
  hop: 'emitter',
  kill: {
    what: "the context of the run around each step of an agent's generator",
    file: 'lib/engine/run-agent.ts',
    line: '    for await (const output of bindIterable(agent.run({ content, history, context, signal, callTool }))) {',
    becomes: '    for await (const output of agent.run({ content, history, context, signal, callTool })) {'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const markers = { alice: newMarker('alice'), bob: newMarker('bob') }
    const metadata = { room: newMarker('room') }

    const refused = await Promise.all([
      attemptRun(alice, markers.alice, { agent: 'context-keeper', metadata }),
      attemptRun(bob, markers.bob, { agent: 'context-restorer', metadata })
    ])
    const delivered = await findStray(stage.url, [{ user: alice, marker: markers.alice }, { user: bob, marker: markers.bob }])

    return { delivered, refused: refused.flat() }
  }
}
