import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { RunText } from '../../client/run-text.ts'
import type { ThreadlineEvent } from '../../client/threadline-event.ts'
import { defineAgent, type Agent } from '../../lib/agents/define-agent.ts'
import { RunStopped } from '../../lib/engine/run-outcome.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import { checkRunEvents } from '../../lib/protocol/run-rules.ts'
import { defineTool } from '../../lib/tools/define-tool.ts'
import { createCrashStage, type Crashing } from '../support/crash-stage.ts'
import { isEvent } from '../support/is-event.ts'
import { collectSpans } from '../support/spans.ts'
import { createSteppingModel, type Said, type SteppingModel } from '../support/stepping-model.ts'
import { onEachDatabase, type TestDatabase } from '../support/storage-databases.ts'

const spans = collectSpans()
const secret = 'a token that no event shows'

/** A run of one kind, and what it has done in the world. */
interface Scene {
  readonly crashing: Crashing
  readonly models: readonly SteppingModel[]
  /** How often each key was used. */
  readonly keys: ReadonlyMap<string, number>
  /** What was done under a key for the first time. */
  readonly bookings: readonly unknown[]
}

interface Cast {
  readonly agents: readonly Agent[]
  readonly models: Readonly<Record<string, SteppingModel>>
}

/** What a run of this kind comes to, whatever happens to its processes. */
interface Expected {
  readonly agent: string
  readonly cast: (tools: Agent['tools']) => Cast
  readonly content: RegExp
  readonly bookings: readonly unknown[]
  readonly toolCalls: number
  readonly modelSteps: number
}

const seat = (number: number) => ({ name: 'book', input: { seat: number } })
const twoStepsAndAnswer = (step: number, call: number): Said => {
  if (step === 1) return { text: `One ${call}. `, calls: [seat(1), { name: 'look_up', input: {} }] }
  if (step === 2) return { text: `Two ${call}. `, calls: [seat(2), { name: 'unknown', input: {} }] }
  return { text: `Three ${call}.` }
}

const inCode = (tools: Agent['tools']): Agent => defineAgent({
  name: 'in-code',
  tools,
  async * run ({ callTool }) {
    yield { type: 'thinking', message: 'Booking' }
    yield { type: 'text', text: 'One. ' }
    const [, found] = await Promise.all([callTool('book', { seat: 3 }), callTool('look_up', {})])
    yield { type: 'text', text: `Two${found.success ? '' : ' not'}. ` }
    for (const number of [4, 4]) await callTool('book', { seat: number })
    yield { type: 'text', text: 'Three.' }
  }
})

const ofModel: Expected = {
  agent: 'of-model',
  cast (tools) {
    const model = createSteppingModel('stepper', twoStepsAndAnswer)
    return { agents: [defineAgent({ name: 'of-model', model: 'stepper', instructions: 'Book', tools })], models: { stepper: model } }
  },
  content: /^One \d+\. Two \d+\. Three \d+\.$/,
  bookings: [{ seat: 1 }, { seat: 2 }],
  toolCalls: 3,
  modelSteps: 3
}

const kinds: readonly Expected[] = [
  ofModel,
  {
    agent: 'in-code',
    cast: (tools) => ({ agents: [inCode(tools)], models: {} }),
    content: /^One\. Two\. Three\.$/,
    bookings: [{ seat: 3 }, { seat: 4 }, { seat: 4 }],
    toolCalls: 4,
    modelSteps: 0
  },
  {
    agent: 'in-stages',
    cast (tools) {
      const stepper = createSteppingModel('stepper', twoStepsAndAnswer)
      const closer = createSteppingModel('closer', (step, call) => step === 1 ? { text: `Four ${call}. `, calls: [seat(5)] } : { text: `Five ${call}.` })
      const broken = defineAgent({ name: 'broken', run: () => { throw new Error('out of order') } })
      const stages = [
        { agent: defineAgent({ name: 'of-model', model: 'stepper', instructions: 'Book', tools }) },
        { agent: broken, continueOnError: true },
        { agent: inCode(tools) },
        { agent: defineAgent({ name: 'of-model', model: 'closer', instructions: 'Close', tools }) }
      ]
      return { agents: [defineAgent({ name: 'in-stages', steps: stages })], models: { stepper, closer } }
    },
    content: /^Four \d+\. Five \d+\.$/,
    bookings: [{ seat: 1 }, { seat: 2 }, { seat: 3 }, { seat: 4 }, { seat: 4 }, { seat: 5 }],
    toolCalls: 8,
    modelSteps: 5
  }
]

async function play ({ storage }: TestDatabase, { agent, cast }: Pick<Expected, 'agent' | 'cast'>): Promise<Scene> {
  const keys = new Map<string, number>()
  const bookings: unknown[] = []
  const use = (key: string): boolean => {
    const times = keys.get(key) ?? 0
    keys.set(key, times + 1)
    return times === 0
  }
  const book = defineTool({
    name: 'book',
    description: 'Books a seat, once for a key',
    input: Type.Object({ seat: Type.Integer() }),
    execute (input, { idempotencyKey }) {
      if (use(idempotencyKey)) bookings.push(input)
      return 'booked'
    }
  })
  const lookUp = defineTool({
    name: 'look_up',
    description: 'Finds a secret',
    input: Type.Object({}),
    execute (_input, { idempotencyKey }) {
      use(idempotencyKey)
      return { password: secret }
    }
  })
  const { agents, models } = cast([book, lookUp])
  const stage = createCrashStage(storage, agents, new Map(Object.entries(models).map(([name, { model }]) => [name, model])))
  return { crashing: await stage.begin(agent), models: Object.values(models), keys, bookings }
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((all, number) => all + number, 0)
const asksOf = ({ models }: Scene): number => sum(models.map(({ asked }) => asked.length))

/** What is wrong with a run that has ended, in words. */
async function faultsOf (scene: Scene, expected: Expected): Promise<readonly string[]> {
  const { crashing, keys, bookings } = scene
  const events = await crashing.told()
  const end = events.at(-1)
  if (end === undefined || !isEvent(end, 'agent_completed')) return ['it has not ended']
  const { content = '', usage } = end.payload
  const text = readAll(events.slice(0, -1))
  const holds: Readonly<Record<string, boolean>> = {
    story: checkRunEvents(events, { usesTools: true }).length === 0,
    'sequences without gaps': events.every(({ sequence }, index) => sequence === index + 1),
    'one start': countOf(events, 'agent_started') === 1,
    'one end': countOf(events, 'agent_completed') === 1,
    completed: end.payload.status === 'completed',
    content: expected.content.test(content),
    'text of the client': expected.agent === 'in-stages' ? text.endsWith(content) : text === content,
    answer: await crashing.answer() === content,
    bookings: JSON.stringify(bookings.toSorted(bySeat)) === JSON.stringify(expected.bookings),
    keys: keys.size === expected.toolCalls,
    'tokens once for each step': (usage?.input_tokens ?? 0) === 7 * expected.modelSteps && (usage?.output_tokens ?? 0) === 3 * expected.modelSteps,
    'no secret in an event': !JSON.stringify(events).includes(secret),
    'no steps are left': (await crashing.steps()).length === 0
  }
  return Object.entries(holds).flatMap(([name, held]) => held ? [] : [name])
}

/** What a client shows that reads these. */
function readAll (events: readonly ThreadEvent[]): string {
  const text = new RunText(events[0]?.run_id ?? '')
  for (const event of events) text.read(event as ThreadlineEvent) // the same events, seen from the other side
  return text.text
}

const bySeat = (one: unknown, other: unknown): number => JSON.stringify(one) < JSON.stringify(other) ? -1 : 1
const typesOf = (events: readonly ThreadEvent[]): readonly string[] => events.map(({ type }) => type)
const countOf = (events: readonly ThreadEvent[], type: ThreadEvent['type']): number => events.filter((event) => event.type === type).length

/** What the next attempt need not do: tools that have run, and models that have been asked. */
async function sparedBy ({ crashing }: Scene): Promise<{ readonly tools: number, readonly asks: number, readonly stages: number }> {
  const steps = await crashing.steps()
  const tools = steps.filter(({ key, body }) => key.startsWith('tool:') && !JSON.stringify(body).includes('"unknown"')).length
  const asks = steps.filter(({ key }) => key.startsWith('model:') || key === 'stage:in-stages/1-of-model').length // a stage has its last answer
  return { tools, asks, stages: steps.filter(({ key }) => key.startsWith('stage:')).length }
}

/** The run dies after so many events, and goes on. False when it had ended before. */
async function dieOnce (t: Test, database: TestDatabase, expected: Expected, events: number): Promise<boolean> {
  const scene = await play(database, expected)
  const { crashing, models, keys } = scene
  if (await crashing.attempt(events) !== undefined) return false
  const [told, spared, asks, uses] = [await crashing.told(), await sparedBy(scene), asksOf(scene), sum(keys.values())]
  t.equal(await crashing.said(), readAll(told), 'whoever comes now is told what was said')

  const ended = await crashing.attempt()

  const name = `${expected.agent} after ${events} events`
  t.equal(told.length, events, name)
  t.equal(spared.stages, told.filter((event) => isEvent(event, 'agent_thinking') && event.payload.message.startsWith('Handing on')).length, name)
  t.same(await faultsOf(scene, expected), [], name)
  t.equal(ended?.content, await crashing.answer(), name)
  t.match((await crashing.told())[events], events === 0 ? { type: 'agent_started' } : { type: 'agent_resumed', payload: { attempt: 2 } }, name)
  t.equal(sum(keys.values()) - uses, expected.toolCalls - spared.tools, `${name}: a tool whose outcome is known is not run again`)
  t.equal(asksOf(scene) - asks, expected.modelSteps - spared.asks, `${name}: a model is asked for what it has not said yet`)
  if (expected.agent === 'of-model') t.ok(models[0]?.asked.at(-1)?.includes(secret), `${name}: the model reads what the tool has found, not what is shown of it`)
  return true
}

onEachDatabase(t, async (t, database) => {
  for (const expected of kinds) {
    // kill: no `step` in `append` of lib/emitter/run-log.ts, or another id from `codeCall` of lib/engine/run-steps.ts
    await t.test(`a run ${expected.agent} goes on in another process wherever the first one died, and does nothing twice`, async (t) => {
      let events = 0
      while (await dieOnce(t, database, expected, events)) events += 1

      t.ok(events > 8, 'it has died at each of its events')
    })

    await t.test(`a run ${expected.agent} goes on however often its processes die`, async (t) => {
      const deaths = fc.array(fc.nat({ max: 9 }), { minLength: 2, maxLength: 5 })
      await fc.assert(fc.asyncProperty(deaths, async (lives) => {
        const scene = await play(database, expected)
        let ended
        for (const events of lives) {
          ended ??= await scene.crashing.attempt(events)
          // kill: no `agent_resumed` in lib/storage/thread-state.ts
          if (ended === undefined && await scene.crashing.said() !== readAll(await scene.crashing.told())) throw new Error('The state says something else')
        }
        if (ended === undefined) await scene.crashing.attempt()
        const faults = await faultsOf(scene, expected)
        if (faults.length > 0) throw new Error(faults.join(', '))
      }), { numRuns: 6 })
      t.pass()
    })
  }

  // kill: no `repeatable` in `perform` of lib/tools/perform-tool.ts
  await t.test('a tool that is not repeatable is not run again: its agent is told that it was interrupted, and goes on', async (t) => {
    let launches = 0
    const launch = defineTool({ name: 'launch', description: 'Launches', input: Type.Object({}), repeatable: false, execute: () => { launches += 1 } })
    const agent = defineAgent({
      name: 'launching',
      tools: [launch],
      async * run ({ callTool }) {
        const outcome = await callTool('launch', {})
        yield { type: 'text', text: outcome.success ? 'It flies' : outcome.error.code }
      }
    })
    const crashing = await createCrashStage(database.storage, [agent]).begin('launching')

    await crashing.attempt(3)
    await crashing.attempt()

    t.equal(launches, 1)
    t.same(typesOf(await crashing.told()), [
      'agent_started', 'agent_thinking', 'tool_executing', 'agent_resumed', 'agent_thinking', 'tool_completed', 'agent_delta', 'agent_completed'
    ])
    t.equal(await crashing.answer(), 'THREADLINE_TOOL_INTERRUPTED')
  })

  // kill: no `closeTools` in `executeRun` of lib/engine/execute-run.ts
  await t.test('a tool that the agent does not come to again is told as interrupted, and another call has another id and key', async (t) => {
    const keys: string[] = []
    const note = defineTool({
      name: 'note', description: 'Notes', input: Type.Object({ at: Type.Integer() }), execute: (_input, { idempotencyKey }) => { keys.push(idempotencyKey) }
    })
    let clock = 0
    const agent = defineAgent({
      name: 'fickle',
      tools: [note],
      async * run ({ callTool }) {
        await callTool('note', { at: clock += 1 })
        yield { type: 'text', text: 'Noted' }
      }
    })
    const crashing = await createCrashStage(database.storage, [agent]).begin('fickle')

    await crashing.attempt(3)
    await crashing.attempt()
    const events = await crashing.told()

    t.equal(new Set(keys).size, 2)
    t.same(checkRunEvents(events, { usesTools: true }), [])
    t.match(events.filter((event) => isEvent(event, 'tool_completed')).map(({ payload }) => payload), [
      { tool_call_id: 'call-2-1', success: true },
      { tool_call_id: 'call-1', tool: 'note', success: false, error: { code: 'THREADLINE_TOOL_INTERRUPTED', retryable: false } }
    ])
    t.match(events.at(-1), { type: 'agent_completed', payload: { status: 'completed', content: 'Noted' } })
  })

  await t.test('a run that goes on and fails at once completes its tools before it ends', async (t) => {
    const wait = defineTool({ name: 'wait', description: 'Waits', input: Type.Object({}), execute: () => 'waited' })
    let broken = false
    const agent = defineAgent({
      name: 'breaking',
      tools: [wait],
      async * run ({ callTool }) {
        if (broken) throw new Error('out of order')
        yield { type: 'text', text: 'So far' }
        await callTool('wait', {})
      }
    })
    const crashing = await createCrashStage(database.storage, [agent]).begin('breaking')

    await crashing.attempt(4)
    broken = true
    const ended = await crashing.attempt()
    const events = await crashing.told()

    t.equal(ended?.status, 'failed')
    t.same(checkRunEvents(events, { usesTools: true }), [])
    t.same(typesOf(events).slice(-2), ['tool_completed', 'agent_completed'])
  })

  // kill: no `steps.spent` in `executeRun` of lib/engine/execute-run.ts
  await t.test('a run that is stopped as soon as it goes on tells its open tool and what models have counted before', async (t) => {
    const scene = await play(database, ofModel)
    const stopping = new AbortController()
    stopping.abort(new RunStopped('cancelled'))

    await scene.crashing.attempt(4)
    const ended = await scene.crashing.attempt(undefined, stopping)
    const events = await scene.crashing.told()

    t.equal(ended?.status, 'cancelled')
    t.equal(asksOf(scene), 1)
    t.same(checkRunEvents(events, { usesTools: true }), [])
    t.same(typesOf(events).slice(3), ['tool_executing', 'agent_resumed', 'tool_completed', 'agent_completed'])
    t.match(events.at(-1)?.payload, { status: 'cancelled', reason: 'cancelled', usage: { input_tokens: 7, output_tokens: 3, model: 'stepper' } })
  })

  await t.test('each attempt of a run is told in the trace of its message, below the same span, and says which one it is', async (t) => {
    const traceId = crypto.randomUUID().replaceAll('-', '')
    const agent = defineAgent({ name: 'brief', async * run () { yield { type: 'text', text: 'Hi' } } })
    const crashing = await createCrashStage(database.storage, [agent]).begin('brief', { traceparent: `00-${traceId}-00f067aa0ba902b7-01` })
    spans.reset()

    await crashing.attempt(2)
    await crashing.attempt()

    const engine = spans.spans().filter(({ attributes }) => attributes['threadline.hop'] === 'engine')
    t.match(engine.map((span) => ({ attempt: span.attributes['threadline.run.attempt'], trace: span.spanContext().traceId, parent: span.parentSpanContext?.spanId })), [
      { attempt: 1, trace: traceId, parent: '00f067aa0ba902b7' }, { attempt: 2, trace: traceId, parent: '00f067aa0ba902b7' }
    ])
  })
})
