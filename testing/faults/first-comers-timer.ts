import { defineAgent } from '../../lib/agents/define-agent.ts'
import { bindThread } from '../../lib/context/bind.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attemptRun } from './attempt.ts'
import { noteTool } from './note-tool.ts'
import { Rooms } from './rooms.ts'

const gatheringMs = 5

/** Gathers work until a timer is over that the first comer has armed, and there are two. */
class Batch {
  readonly #gathered: (() => void)[] = []

  add (work: () => void): void {
    this.#gathered.push(work)
    if (this.#gathered.length === 1) this.#arm()
  }

  #arm (): void {
    setTimeout(() => {
      if (this.#gathered.length < 2) this.#arm()
      else for (const work of this.#gathered.splice(0)) work()
    }, gatheringMs)
  }
}

const batches = new Rooms(() => new Batch())

/** Keeps its note together with those of others. What it gives to the batch is bound. */
const diarist = defineAgent({
  name: 'diarist',
  tools: [noteTool],
  async * run ({ content, context, callTool }) {
    const noted = Promise.withResolvers<void>()
    batches.of(context).add(bindThread(() => { callTool('note', { text: content }).then(() => { noted.resolve() }, noted.reject) }))
    await noted.promise
    yield { type: 'text', text: `noted ${content}` }
  }
})

/** An agent that works in batches: whoever comes first arms the timer in which the work of all is done. */
export const firstComersTimer: Fault = {
  name: 'first-comers-timer',
  title: 'A timer that the first comer has armed does the work of others',
  stage: { agents: [diarist] },
  hop: 'emitter',
  kill: {
    what: 'the context that bindThread keeps',
    file: 'lib/context/bind.ts',
    line: '  return (...args) => context.with(bound, fn, undefined, ...args)',
    becomes: '  return (...args) => fn(...args)'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const tabs = [{ user: alice, marker: newMarker('alice') }, { user: bob, marker: newMarker('bob') }]
    const metadata = { room: newMarker('room') }

    const refused = await Promise.all(tabs.map(async ({ user, marker }) => await attemptRun(user, marker, { agent: 'diarist', metadata })))
    const delivered = await findStray(stage.url, tabs)

    return { delivered, refused: refused.flat() }
  }
}
