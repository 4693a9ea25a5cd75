import type { Agent, AgentInput, AgentOutput, CodeAgent } from '../../lib/agents/define-agent.ts'
import { bindIterable } from '../../lib/context/bind.ts'
import { currentRun, tryCurrentIdentity } from '../../lib/context/current-thread.ts'
import type { RunIdentity } from '../../lib/context/identity.ts'
import type { Tool, ToolCall } from '../../lib/tools/define-tool.ts'
import type { Gathering } from './gathering.ts'
import type { Lockstep } from './lockstep.ts'

/** What is seen from around the foreign code while it works. */
export interface Observer {
  readonly lockstep: Lockstep
  /** Requests, of which those to one route go on together. */
  readonly requests: Gathering
  /** Called for each step of foreign code that ends. */
  stepped (identity: RunIdentity): void
  /** A sentence that says where the identity was another one. */
  wrong (sentence: string): void
  /** Steps that have begun and not ended, each by a name that says whose it is. */
  readonly going: Set<string>
}

/** What a step that is to fail throws. */
export class FailedOnPurpose extends Error {
  constructor () { super('It fails on purpose') }
}

/** The same agent, led step by step, with the identity looked at before and after each step, at each call of a tool, and in each tool. */
export function observeAgent (agent: Agent, observer: Observer): Agent {
  const tools = agent.tools.map((tool) => typeof tool === 'string' ? tool : observeTool(tool, observer))
  switch (agent.kind) {
    case 'model': return Object.freeze({ ...agent, tools })
    case 'code': return Object.freeze({ ...agent, tools, run: observeRun(agent, observer) })
    case 'pipeline': {
      const steps = agent.steps.map((step) => ({ ...step, agent: observeAgent(step.agent, observer) }))
      return Object.freeze({ ...agent, tools, steps })
    }
  }
}

export function observeTool (tool: Tool, observer: Observer): Tool {
  return Object.freeze({
    ...tool,
    execute: async (input: never, call: ToolCall): Promise<unknown> => {
      const run = currentRun()
      const { lockstep } = observer
      const result = await lockstep.step(run, call.signal, () => lookAround(run, `the tool ${tool.name}`, observer, () => tool.execute(input, call)))
      observer.stepped(run)
      if (lockstep.roles.failing?.has(run.threadId) === true) throw new FailedOnPurpose()
      return result
    }
  })
}

function observeRun (agent: CodeAgent, observer: Observer): CodeAgent['run'] {
  return (input) => bindIterable(leadAgent(agent, input, currentRun(), observer))
}

async function * leadAgent (agent: CodeAgent, input: AgentInput, run: RunIdentity, observer: Observer): AsyncGenerator<AgentOutput, void> {
  const { lockstep } = observer
  const { failing, stopped } = lockstep.roles
  const place = `agent ${agent.name}`
  const callTool: AgentInput['callTool'] = (name, toolInput) => {
    compare(run, `${place}, where it calls ${name}`, observer)
    return input.callTool(name, toolInput)
  }
  const iterator = agent.run({ ...input, callTool })[Symbol.asyncIterator]()
  try {
    for (let step = 1; ; step += 1) {
      if (step === 2 && stopped?.has(run.threadId) === true) await aborted(input.signal)
      const fails = step === 2 && failing?.has(run.threadId) === true
      const result = await lockstep.step(run, input.signal, () => lookAround(run, `step ${step} of ${place}`, observer, () => {
        if (!fails) return iterator.next()
        return iterator.throw === undefined ? Promise.reject(new FailedOnPurpose()) : iterator.throw(new FailedOnPurpose())
      }))
      observer.stepped(run)
      if (result.done === true) return
      yield result.value
    }
  } finally {
    await iterator.return?.()
  }
}

async function lookAround<T> (run: RunIdentity, place: string, observer: Observer, work: () => T | Promise<T>): Promise<T> {
  const name = `${place} for ${run.userId}, in run ${run.runId}`
  observer.going.add(name)
  try {
    const working = work()
    // What the code has entered and not left is still active where it was called.
    compare(run, place, observer)
    return await working
  } finally {
    observer.going.delete(name)
  }
}

function compare (run: RunIdentity, place: string, observer: Observer): void {
  const found = tryCurrentIdentity()
  if (found === undefined) observer.wrong(`${place} had no identity in a run of ${run.userId}`)
  else if (found.userId !== run.userId) observer.wrong(`${place} worked as ${found.userId} in a run of ${run.userId}`)
  else if (found.threadId !== run.threadId || found.runId !== run.runId) observer.wrong(`${place} worked in another thread or run of ${run.userId}`)
}

async function aborted (signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => { signal.addEventListener('abort', () => { resolve() }, { once: true }) })
}
