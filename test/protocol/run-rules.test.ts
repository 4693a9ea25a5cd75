import fc from 'fast-check'
import t from 'tap'
import { runEventTypes, type NewThreadEvent, type RunOutcome } from '../../lib/protocol/events.ts'
import { newMessageId } from '../../lib/protocol/ids.ts'
import { checkRunEvents, requiredRunEvents, RunStory, toolRunEvents, type RunViolation } from '../../lib/protocol/run-rules.ts'

type Told = Pick<NewThreadEvent, 'type' | 'payload'>

const started: Told = { type: 'agent_started', payload: { agent: 'assistant', message_id: newMessageId(), input: 'hello' } }
const resumed: Told = { type: 'agent_resumed', payload: { attempt: 2 } }
const thinking: Told = { type: 'agent_thinking', payload: { message: 'Reading', step: 0 } }
const delta: Told = { type: 'agent_delta', payload: { text: 'Hi', step: 1 } }
const executing = (id: string): Told => ({ type: 'tool_executing', payload: { tool_call_id: id, tool: 'search', parameters: {} } })
const completed = (id: string): Told => ({ type: 'tool_completed', payload: { tool_call_id: id, tool: 'search', success: true, duration_ms: 1 } })
const ended = (status: RunOutcome): Told => ({ type: 'agent_completed', payload: { status } })

const rulesOf = (events: readonly Told[], usesTools = false): readonly string[] =>
  checkRunEvents(events, { usesTools }).map(({ rule, type, critical }) => `${rule} ${type}${critical ? ' critical' : ''}`)

t.test('F77 a run that tells its story breaks no rule', async (t) => {
  t.same(rulesOf([started, thinking, ended('completed')]), [])
  t.same(rulesOf([started, thinking, executing('a'), completed('a'), delta, ended('completed')], true), [])
  t.same(rulesOf([started, thinking, executing('a'), executing('b'), completed('b'), thinking, completed('a'), ended('failed')], true), [])
  t.same(rulesOf([started, thinking, executing('a'), completed('a'), executing('a'), completed('a'), ended('completed')], true), [], 'a call that is repeated')
  for (const status of ['completed', 'failed', 'cancelled', 'timed_out'] as const) t.same(rulesOf([started, thinking, ended(status)]), [], status)
})

t.test('F77 each event out of its place is reported by its rule', async (t) => {
  const broken: readonly [string, readonly Told[]][] = [
    ['before-start agent_completed critical', [ended('completed'), started, thinking, ended('completed')]],
    ['before-start agent_thinking', [thinking, started, thinking, ended('completed')]],
    ['before-start agent_resumed', [resumed, started, thinking, ended('completed')]],
    ['before-start agent_delta', [delta, started, thinking, ended('completed')]],
    ['before-start tool_executing', [executing('a'), started, thinking, ended('completed')]],
    ['before-start tool_completed', [completed('a'), started, thinking, ended('completed')]],
    ['started-twice agent_started', [started, started, thinking, ended('completed')]],
    ['tool-not-executing tool_completed', [started, thinking, completed('a'), ended('completed')]],
    ['tool-not-executing tool_completed', [started, thinking, executing('a'), completed('b'), completed('a'), ended('completed')]],
    ['tool-not-executing tool_completed', [started, thinking, executing('a'), completed('a'), completed('a'), ended('completed')]],
    ['tool-already-executing tool_executing', [started, thinking, executing('a'), executing('a'), completed('a'), ended('completed')]],
    ['tool-unfinished agent_completed critical', [started, thinking, executing('a'), ended('completed'), completed('a'), ended('completed')]],
    ['after-completion agent_completed critical', [started, thinking, ended('completed'), ended('completed')]],
    ['after-completion agent_delta', [started, thinking, ended('completed'), delta]],
    ['after-completion agent_resumed', [started, thinking, ended('failed'), resumed]],
    ['started-twice agent_started', [started, thinking, resumed, started, ended('failed')]],
    ['after-completion agent_started', [started, thinking, ended('failed'), started]],
    ['after-completion tool_completed', [started, thinking, ended('completed'), completed('a')]]
  ]

  for (const [rule, events] of broken) t.same(rulesOf(events), [rule], events.map(({ type }) => type).join(' '))
})

t.test('a run that goes on in another process tells one story: its tools stay open, and it starts and ends once', async (t) => {
  t.same(rulesOf([started, resumed, thinking, ended('completed')]), [])
  t.same(rulesOf([started, thinking, delta, executing('a'), resumed, completed('a'), resumed, delta, ended('completed')], true), [])
  t.same(rulesOf([started, thinking, executing('a'), resumed, executing('a'), completed('a'), ended('completed')]), ['tool-already-executing tool_executing'])
  t.same(rulesOf([started, thinking, executing('a'), resumed, ended('completed')]), ['tool-unfinished agent_completed critical'])

  const taken = new RunStory([], { begun: true })
  t.match(taken.tell(started), { rule: 'started-twice' })
  t.equal(taken.tell(resumed), undefined)
  t.equal(taken.tell(ended('completed')), undefined)
})

t.test('F77 a run that was stopped while it waited ends without having started, and nothing follows', async (t) => {
  for (const status of ['failed', 'cancelled', 'timed_out'] as const) {
    const story = new RunStory()
    t.equal(story.tell(ended(status)), undefined, status)
    t.equal(story.ended, true)
    t.match(story.tell(started), { rule: 'after-completion' })
  }
})

t.test('F77 an event that is refused leaves the story as it was', async (t) => {
  const story = new RunStory()

  t.match(story.tell(ended('completed')), { rule: 'before-start', type: 'agent_completed', critical: true })
  t.equal(story.ended, false)
  t.equal(story.tell(started), undefined)
  t.equal(story.tell(executing('a')), undefined)
  t.match(story.tell(executing('a')), { rule: 'tool-already-executing' })
  t.match(story.tell(ended('completed')), { rule: 'tool-unfinished' })
  t.same([story.ended, story.openTools], [false, ['a']])
  t.equal(story.tell(completed('a')), undefined)
  t.equal(story.tell(ended('completed')), undefined)
  t.same([story.ended, story.openTools], [true, []])
})

t.test('F77 whoever ends a run that another process began has to complete its tools first, each once', async (t) => {
  const story = new RunStory(['a', 'b'])

  t.match(story.tell(started), { rule: 'started-twice' })
  t.equal(story.tell(completed('a')), undefined)
  t.match(story.tell(completed('a')), { rule: 'tool-not-executing' })
  t.match(story.tell(ended('failed')), { rule: 'tool-unfinished' })
  t.equal(story.tell(completed('b')), undefined)
  t.equal(story.tell(ended('failed')), undefined)
  t.equal(new RunStory([]).tell(ended('failed')), undefined, 'one that had announced no tool may not even have started')
})

// kill: no `tool_completed` in `retract` of lib/protocol/run-rules.ts
t.test('F77 a tool whose announcement was lost is not open, and one whose completion was lost is', async (t) => {
  const story = new RunStory()
  story.tell(started)

  story.tell(executing('a'))
  story.retract(executing('a'))
  story.tell(executing('b'))
  story.tell(completed('b'))
  story.retract(completed('b'))

  t.same(story.openTools, ['b'])
  t.match(story.tell(ended('failed')), { rule: 'tool-unfinished' })
})

t.test('F78 a required event that never came is named, and a missing end is critical', async (t) => {
  const whole = [started, thinking, executing('a'), completed('a'), ended('completed')]

  for (const type of [...requiredRunEvents, ...toolRunEvents]) {
    const missing = checkRunEvents(whole.filter((event) => event.type !== type), { usesTools: true }).filter(({ rule }) => rule === 'missing')
    t.strictSame(missing, [{ rule: 'missing', type, critical: type === 'agent_completed' }])
  }
  t.same(rulesOf([started, thinking, executing('a'), ended('completed')], true), [
    'tool-unfinished agent_completed critical', 'missing tool_completed'
  ])
})

t.test('F78 a run that told nothing lacks everything', async (t) => {
  t.same(rulesOf([]), ['missing agent_started', 'missing agent_thinking', 'missing agent_completed critical'])
  t.same(rulesOf([], true), [
    'missing agent_started', 'missing agent_thinking', 'missing agent_completed critical', 'missing tool_executing', 'missing tool_completed'
  ])
})

t.test('F78 the pair of a tool is missing only in a run that uses tools', async (t) => {
  t.same(rulesOf([started, thinking, ended('completed')], false), [])
  t.same(rulesOf([started, thinking, ended('completed')], true), ['missing tool_executing', 'missing tool_completed'])
})

t.test('F77 whatever is told, what the story accepts starts once, ends once at the end, and closes each tool that it opens', async (t) => {
  const event = fc.oneof(
    fc.constantFrom(started, resumed, thinking, delta),
    fc.constantFrom('a', 'b').chain((id) => fc.constantFrom(executing(id), completed(id))),
    fc.constantFrom<RunOutcome>('completed', 'failed', 'cancelled', 'timed_out').map(ended)
  )

  fc.assert(fc.property(fc.array(event, { maxLength: 12 }), (events) => {
    const story = new RunStory()
    const accepted = events.filter((one) => story.tell(one) === undefined)
    const types = accepted.map(({ type }) => type)
    const started = types.filter((type) => type === 'agent_started').length
    const endings = types.filter((type) => type === 'agent_completed').length
    const open = new Set<string>()
    const pairsHold = accepted.every(({ type, payload }) => {
      const id = 'tool_call_id' in payload ? payload.tool_call_id : ''
      if (type === 'tool_executing') return !open.has(id) && open.add(id).size > 0
      return type === 'tool_completed' ? open.delete(id) : true
    })
    const begins = started === 1 ? types[0] === 'agent_started' : started === 0 && types.every((type) => type === 'agent_completed')
    const ends = endings === 0 ? !story.ended : endings === 1 && types.at(-1) === 'agent_completed' && story.ended && open.size === 0
    return begins && ends && pairsHold && story.openTools.join() === [...open].join()
  }), { numRuns: 5_000 })
  t.pass()
})

t.test('F77 of a recorded run, each accepted event is reported by no rule and each refused one by exactly one', async (t) => {
  const event = fc.constantFrom(started, resumed, thinking, delta, executing('a'), completed('a'), ended('completed'), ended('failed'))

  fc.assert(fc.property(fc.array(event, { maxLength: 10 }), (events) => {
    const story = new RunStory()
    const refused = events.map((one) => story.tell(one)).filter((violation): violation is RunViolation => violation !== undefined)
    const reported = checkRunEvents(events).filter(({ rule }) => rule !== 'missing')
    return JSON.stringify(reported) === JSON.stringify(refused)
  }))
  t.ok(runEventTypes.every((type) => [started, resumed, thinking, delta, executing('a'), completed('a'), ended('failed')].some((one) => one.type === type)))
})
