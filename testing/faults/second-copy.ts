import { registerHooks } from 'node:module'
import { trace } from '@opentelemetry/api'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import { currentThread } from '../../lib/context/current-thread.ts'
import type * as contextModule from '../../lib/context/current-thread.ts'
import { findStray, newMarker } from '../markers.ts'
import type { Fault } from '../fault.ts'
import { attemptRun } from './attempt.ts'
import { noteTool } from './note-tool.ts'

const mark = '?copy'

/** The module that holds the identity, and what it imports, once more: as a package has them that brings a Threadline of its own. */
async function loadSecondCopy (): Promise<typeof contextModule> {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const hooks = registerHooks({
    resolve (specifier, context, nextResolve) {
      const resolved = nextResolve(specifier, context)
      const isOfCopy = context.parentURL?.endsWith(mark) === true && specifier.startsWith('.')
      return isOfCopy ? { ...resolved, url: `${resolved.url}${mark}` } : resolved
    }
  })
  try {
    const url = new URL(`../../lib/context/current-thread${extension}${mark}`, import.meta.url)
    return await import(url.href) as typeof contextModule // the same file
  } finally {
    hooks.deregister()
  }
}

const copy = await loadSecondCopy()

/** Has a package do part of its work, which enters the run's identity with a Threadline of its own, as a queue does on its way back. */
const delegator = defineAgent({
  name: 'delegator',
  tools: [noteTool],
  async * run ({ content, callTool }) {
    const identity = currentThread()
    const parent = trace.getActiveSpan()
    const outcome = await copy.enterThread(identity, () => callTool('note', { text: content }), { parent })
    yield { type: 'text', text: `noted by ${identity.userId}: ${JSON.stringify(outcome)}` }
  }
})

/** Copies know each other's identities, since all know an identity by one key of the process. With a key of its own, each is blind for the others. */
export const secondCopy: Fault = {
  name: 'second-copy',
  title: 'A package that brings a second copy of the module enters an identity, which the first one does not see',
  stage: { agents: [delegator] },
  hop: 'emitter',
  kill: {
    what: 'the key by which all copies of the module know an identity',
    file: 'lib/context/current-thread.ts',
    line: "const identityKey = createContextKey('threadline.identity')",
    becomes: "const identityKey = Symbol('threadline.identity')"
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const tabs = [{ user: alice, marker: newMarker('alice') }, { user: bob, marker: newMarker('bob') }]

    const refused = await Promise.all(tabs.map(async ({ user, marker }) => await attemptRun(user, marker, { agent: 'delegator' })))
    const delivered = await findStray(stage.url, tabs)

    return { delivered, refused: refused.flat() }
  }
}
