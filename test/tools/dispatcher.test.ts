import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises'
import { SpanStatusCode } from '@opentelemetry/api'
import t from 'tap'
import { Type } from 'typebox'
import { childRequest } from '../../lib/context/child-request.ts'
import { currentRun, currentThread } from '../../lib/context/current-thread.ts'
import { guard } from '../../lib/context/guard.ts'
import { maxDepth, type Identity, type RunIdentity } from '../../lib/context/identity.ts'
import { createEmitter } from '../../lib/emitter/emitter.ts'
import { redacted } from '../../lib/emitter/redact.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import type { PayloadOf } from '../../lib/protocol/events.ts'
import { newMessageId } from '../../lib/protocol/ids.ts'
import { checkRunEvents } from '../../lib/protocol/run-rules.ts'
import { defineTool, type Tool, type ToolCall } from '../../lib/tools/define-tool.ts'
import { createDispatcher, type Dispatcher } from '../../lib/tools/dispatcher.ts'
import type { ToolOutcome } from '../../lib/tools/perform-tool.ts'
import { inRun, newRun } from '../support/identities.ts'
import { createRecordingLog, type RecordingLog } from '../support/recording-log.ts'
import { createSilentLogger } from '../support/silent-logger.ts'
import { collectSpans } from '../support/spans.ts'
import { watchViolations } from '../support/violations.ts'

const spans = collectSpans()
const anything = Type.Object({})
const never = async (): Promise<never> => await new Promise(() => {})

/** A tool that does what the test says. */
const toolOf = (name: string, execute: (call: ToolCall) => unknown, more: Partial<Pick<Tool, 'permit' | 'timeoutMs' | 'repeatable'>> = {}): Tool =>
  defineTool({ name, description: name, input: anything, execute: (_, call) => execute(call), ...more })

interface Running {
  readonly dispatcher: Dispatcher
  readonly log: RecordingLog
  readonly logger: ReturnType<typeof createSilentLogger>
  readonly controller: AbortController
  /** Calls the tool of that name, as the run. */
  readonly call: (name: string, input?: unknown, toolCallId?: string) => Promise<ToolOutcome>
  readonly dispatch: Dispatcher['dispatch']
  /** Pairs that were told, each as what `tool_completed` says. */
  readonly completed: readonly PayloadOf<'tool_completed'>[]
}

/** A run that has started, here or, with open tools, elsewhere, and whose agent may now call its tools. */
async function startRun (run: RunIdentity, tools: readonly Tool[], log = createRecordingLog(), openTools: readonly string[] = []): Promise<Running> {
  const controller = new AbortController()
  const logger = createSilentLogger()
  const dispatcher = await inRun(run, async () => {
    const emitter = createEmitter({ log, attempt: 1, agentName: 'assistant', openTools })
    if (openTools.length === 0) await emitter.emit('agent_started', { agent: 'assistant', message_id: newMessageId(), input: 'hello' })
    return createDispatcher({ agentName: 'tester', tools, emitter, signal: controller.signal, defaultTimeoutMs: 60_000, logger })
  })
  let calls = 0
  return {
    dispatcher,
    log,
    logger,
    controller,
    call: async (name, input = {}, toolCallId = `call-${calls += 1}`) =>
      await inRun(run, async () => await dispatcher.dispatch({ toolCallId, name, input })),
    dispatch: async (request) => await inRun(run, async () => await dispatcher.dispatch(request)),
    get completed () { return log.events.flatMap(({ payload }) => 'success' in payload ? [payload] : []) }
  }
}

/** One pair for each call, in order, and no rule of the run broken. */
function hasPairs ({ log }: Running, calls: number): boolean {
  const told = log.types.filter((type) => type.startsWith('tool_'))
  const broken = checkRunEvents(log.events).filter(({ rule }) => rule !== 'missing')
  return told.length === calls * 2 && told.every((type, index) => type === (index % 2 === 0 ? 'tool_executing' : 'tool_completed')) && broken.length === 0
}

t.test('a tool that succeeds: the caller gets its result as JSON, the client one pair that names the call', async (t) => {
  const running = await startRun(newRun('alice'), [toolOf('search', async () => ({ found: new Set([1]), at: new Date(0) }))])

  const outcome = await running.call('search', { q: 'x' }, 'mine')

  t.strictSame(outcome, { success: true, result: { found: [1], at: '1970-01-01T00:00:00.000Z' } })
  t.ok(hasPairs(running, 1))
  t.match(running.log.events.slice(1).map(({ payload }) => payload), [
    { tool_call_id: 'mine', tool: 'search', parameters: { q: 'x' } },
    { tool_call_id: 'mine', tool: 'search', success: true, result: { found: [1], at: '1970-01-01T00:00:00.000Z' } }
  ])
  t.type(running.completed[0]?.duration_ms, 'number')
  t.same(running.logger.lines, [])
})

// kill: the tool is executed in context.with(ROOT_CONTEXT, …).
t.test('B19 a tool sees its thread, also after timers and awaits, and its events carry it', async (t) => {
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const seen: { readonly step: string, readonly identity: Identity }[] = []
  const see = (step: string): void => { seen.push({ step, identity: currentThread() }) }
  const look = toolOf('look', async () => {
    see('at once')
    await Promise.resolve()
    see('after an await')
    await delay(1)
    see('after a promised timer')
    await new Promise<void>((resolve) => { setTimeout(() => { see('in a timer'); resolve() }, 1) })
    await immediate()
    see('at the end')
    return currentThread().userId
  })

  const runs = [await startRun(alice, [look]), await startRun(bob, [look])] as const
  const outcomes = await Promise.all(runs.map(async ({ call }) => await call('look')))

  t.same(outcomes, [{ success: true, result: 'alice' }, { success: true, result: 'bob' }])
  for (const run of [alice, bob]) {
    const own = seen.filter(({ identity }) => identity.userId === run.userId)
    t.same(own.map(({ step }) => step), ['at once', 'after an await', 'after a promised timer', 'in a timer', 'at the end'])
    t.ok(own.every(({ identity }) => identity.threadId === run.threadId && identity.runId === run.runId))
  }
  for (const [index, { log }] of runs.entries()) {
    t.ok(log.events.every((event) => event.thread_id === [alice, bob][index]?.threadId && event.user_id === [alice, bob][index]?.userId))
  }
})

t.test('C33 a tool runs as a child request of the run, and its events are those of the run', async (t) => {
  const alice = newRun('alice')
  const seen: RunIdentity[] = []
  const running = await startRun(alice, [toolOf('look', () => { seen.push(currentRun()) })])

  await running.call('look')
  await running.call('look')

  t.match(seen, [{ depth: 1, parentRequestId: alice.requestId, runId: alice.runId }, { depth: 1, parentRequestId: alice.requestId }])
  t.not(seen[0]?.requestId, seen[1]?.requestId)
  t.ok(running.log.events.every((event) => event.request_id === alice.requestId))
})

t.test('C34 a tool that would be called too deep is not run, and the client is told', async (t) => {
  const alice = newRun('alice')
  let ran = 0
  const running = await startRun(alice, [toolOf('look', () => { ran += 1 })])
  const nest = async (levels: number): Promise<ToolOutcome> => levels === 0
    ? await running.dispatcher.dispatch({ toolCallId: 'deep', name: 'look', input: {} })
    : await childRequest(`level ${levels}`, async () => await nest(levels - 1))

  const [nearly, outcome] = await inRun(alice, async () => [await nest(maxDepth - 1), await nest(maxDepth)] as const)

  t.equal(nearly.success, true)
  t.match(outcome, { success: false, error: { code: 'THREADLINE_CONTEXT_TOO_DEEP' } })
  t.equal(ran, 1)
  t.ok(hasPairs(running, 2))
})

t.test('F81 an unknown tool is told as executing and completed with an error, and the run goes on', async (t) => {
  const running = await startRun(newRun('alice'), [toolOf('known', () => 'yes')])

  t.match(await running.call('unknown'), { success: false, error: { code: 'THREADLINE_TOOL_NOT_FOUND', message: /unknown/ } })
  t.match(await running.call('__proto__'), { success: false, error: { code: 'THREADLINE_TOOL_NOT_FOUND' } })
  t.match(await running.call('x'.repeat(10_000)), { success: false })
  t.same(await running.call('known'), { success: true, result: 'yes' })

  t.ok(hasPairs(running, 4))
  t.match(running.completed.map(({ error }) => error?.code ?? 'none'), ['THREADLINE_TOOL_NOT_FOUND', 'THREADLINE_TOOL_NOT_FOUND', 'THREADLINE_TOOL_NOT_FOUND', 'none'])
  t.ok(running.completed.every(({ tool }) => tool.length <= 64))
})

t.test('F81 whatever a tool throws, it is told once, without what is inside, and the run goes on', async (t) => {
  const thrown: readonly unknown[] = [
    new Error('password of the database: hunter2'), 'hunter2', undefined, null, 7n, Symbol('hunter2'), Object.create(null),
    { toString () { throw new Error('no') } }, Object.defineProperty(new Error('x'), 'message', { get () { throw new Error('no') } })
  ]
  const tools = thrown.flatMap((error, index) => [
    toolOf(`throws_${index}`, () => { throw error }), toolOf(`rejects_${index}`, async () => { await immediate(); throw error })
  ])
  const running = await startRun(newRun('alice'), tools)

  for (const { name } of tools) {
    t.match(await running.call(name), { success: false, error: { code: 'THREADLINE_TOOL_FAILED', message: 'The tool failed', retryable: true } }, name)
  }

  t.ok(hasPairs(running, tools.length))
  t.notOk(JSON.stringify(running.log.events).includes('hunter2'))
  t.equal(running.logger.lines.filter(({ level, message }) => level === 'warn' && message === 'a tool failed').length, tools.length)
})

t.test('F81 an error that a tool means for the client is told as it is', async (t) => {
  const running = await startRun(newRun('alice'), [toolOf('book', () => { throw new ThreadlineError('THREADLINE_CONFLICT', 'The seat is taken') })])

  t.same(await running.call('book'), { success: false, error: { code: 'THREADLINE_CONFLICT', message: 'The seat is taken', retryable: false } })
})

t.test('F81 parameters that do not match the tool\'s schema do not reach it', async (t) => {
  let ran = 0
  const tool = defineTool({
    name: 'weather', description: 'weather', input: Type.Object({ city: Type.String({ minLength: 1 }) }), execute: () => { ran += 1 }
  })
  const running = await startRun(newRun('alice'), [tool])

  for (const input of [{}, { city: '' }, { city: 7 }, null, 'Wien', ['Wien']]) {
    t.match(await running.call('weather', input), { success: false, error: { code: 'THREADLINE_BAD_REQUEST', message: /parameters/ } })
  }
  t.match(await running.dispatcher.dispatch({ toolCallId: 'outside', name: 'weather', input: { city: 'Wien' } }).catch((error: unknown) => error), {
    code: 'THREADLINE_CONTEXT_MISMATCH'
  })

  t.equal(ran, 0)
  t.ok(hasPairs(running, 6))
})

t.test('F82 a tool error in one thread hinders neither another thread nor a retry', async (t) => {
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const failedFor = new Set<string>()
  const tool = toolOf('flaky', async () => {
    const { userId } = currentThread()
    await immediate()
    if (userId === 'alice' && !failedFor.has(userId)) {
      failedFor.add(userId)
      throw new Error('not now')
    }
    return userId
  })
  const [alices, bobs] = [await startRun(alice, [tool]), await startRun(bob, [tool])]

  const outcomes = await Promise.all([alices.call('flaky'), bobs.call('flaky')])
  const retried = await alices.call('flaky')

  t.match(outcomes, [{ success: false }, { success: true, result: 'bob' }])
  t.same(retried, { success: true, result: 'alice' })
  t.ok(hasPairs(alices, 2) && hasPairs(bobs, 1))
})

// kill: the promise that permit returns is not awaited.
t.test('K133 a tool that is not permitted does not run, and the client is told', async (t) => {
  const ran: string[] = []
  const ofAlice = () => currentThread().userId === 'alice'
  const execute = (): void => { ran.push(currentThread().userId) }
  const tools = [
    toolOf('sync', execute, { permit: ofAlice }),
    toolOf('async', execute, { permit: async () => { await immediate(); return ofAlice() } }),
    toolOf('failing', execute, { permit: () => { throw new Error('no answer') } })
  ]
  const [alices, bobs] = [await startRun(newRun('alice'), tools), await startRun(newRun('bob'), tools)]

  const outcomes = await Promise.all(['sync', 'async'].flatMap((name) => [alices.call(name), bobs.call(name)]))

  t.match(outcomes, [{ success: true }, { success: false, error: { code: 'THREADLINE_TOOL_DENIED' } }, { success: true }, { success: false }])
  t.match(await alices.call('failing'), { success: false, error: { code: 'THREADLINE_TOOL_FAILED' } })
  t.same(ran, ['alice', 'alice'])
  t.match(bobs.completed.map(({ success, error }) => [success, error?.code]), [[false, 'THREADLINE_TOOL_DENIED'], [false, 'THREADLINE_TOOL_DENIED']])
})

t.test('F83 the client sees parameters and result redacted and cut, tool and caller as they are', async (t) => {
  const given: unknown[] = []
  const tool = defineTool({
    name: 'login', description: 'login', input: Type.Object({ user: Type.String(), password: Type.String() }),
    execute: (input) => { given.push(input); return { token: 'hunter2', page: 'x'.repeat(600) } }
  })
  const running = await startRun(newRun('alice'), [tool])

  const outcome = await running.call('login', { user: 'alice', password: 'hunter2' })

  t.same(given, [{ user: 'alice', password: 'hunter2' }])
  t.same(outcome, { success: true, result: { token: 'hunter2', page: 'x'.repeat(600) } })
  t.match(running.log.events.slice(1).map(({ payload }) => payload), [
    { parameters: { user: 'alice', password: redacted } }, { result: { token: redacted, page: /^x{500}… \(600 characters\)$/ } }
  ])
  t.notOk(JSON.stringify(running.log.events).includes('hunter2'))
})

t.test('a tool has its time, is told when it is over, and what comes of it later is discarded', async (t) => {
  const late = Promise.withResolvers<string>()
  const aborted = Promise.withResolvers<unknown>()
  const stuck = toolOf('stuck', async ({ signal }) => {
    signal.addEventListener('abort', () => { aborted.resolve(signal.reason) })
    return await late.promise
  }, { timeoutMs: 5 })
  const failing = toolOf('failing', async () => { await late.promise; throw new Error('too late') }, { timeoutMs: 5 })
  const running = await startRun(newRun('alice'), [stuck, failing])

  t.match(await running.call('stuck'), { success: false, error: { code: 'THREADLINE_TIMED_OUT', message: /5 ms/ } })
  t.match(await running.call('failing'), { success: false, error: { code: 'THREADLINE_TIMED_OUT' } })
  t.match(await aborted.promise, { code: 'THREADLINE_TIMED_OUT' })
  late.resolve('the result')
  await immediate()
  await running.dispatcher.settled()

  t.ok(hasPairs(running, 2))
  t.notOk(JSON.stringify(running.log.events).includes('the result'))
})

t.test('the time of a tool is also that of its permission, and it does not run once that is over', async (t) => {
  const permission = Promise.withResolvers<boolean>()
  let ran = 0
  const tool = toolOf('asked', () => { ran += 1 }, { permit: async () => await permission.promise, timeoutMs: 5 })
  const running = await startRun(newRun('alice'), [tool])

  t.match(await running.call('asked'), { success: false, error: { code: 'THREADLINE_TIMED_OUT' } })
  permission.resolve(true)
  await immediate()

  t.equal(ran, 0)
  t.ok(hasPairs(running, 1))
})

t.test('F80 when the run is stopped, every tool of it ends at once, whatever it waits for, and no other begins', async (t) => {
  const began = Promise.withResolvers<void>()
  let ran = 0
  const tools = [
    toolOf('stuck', async () => { began.resolve(); await never() }),
    toolOf('asking', never, { permit: never }),
    toolOf('later', () => { ran += 1 })
  ]
  const running = await startRun(newRun('alice'), tools)

  const calls = [running.call('stuck'), running.call('asking')]
  await began.promise
  running.controller.abort(new ThreadlineError('THREADLINE_CANCELLED'))
  await running.dispatcher.settled()
  const outcomes = [...await Promise.all(calls), await running.call('later')]

  t.match(outcomes, Array.from({ length: 3 }, () => ({ success: false, error: { code: 'THREADLINE_CANCELLED' } })))
  t.equal(ran, 0)
  t.equal(running.completed.length, 3)
})

t.test('tools at the same time each have their own pair and their own signal', async (t) => {
  const gates = new Map(['a', 'b', 'c'].map((id) => [id, Promise.withResolvers<void>()]))
  const running = await startRun(newRun('alice'), [toolOf('wait', async ({ toolCallId, signal }) => {
    await gates.get(toolCallId)?.promise
    return { toolCallId, aborted: signal.aborted }
  })])

  const calls = ['a', 'b', 'c'].map(async (id) => await running.call('wait', {}, id))
  for (const id of ['c', 'a', 'b']) gates.get(id)?.resolve()
  const outcomes = await Promise.all(calls)

  t.same(outcomes, ['a', 'b', 'c'].map((toolCallId) => ({ success: true, result: { toolCallId, aborted: false } })))
  t.same(running.completed.map(({ tool_call_id: id }) => id).toSorted((a, b) => a < b ? -1 : 1), ['a', 'b', 'c'])
  t.same(checkRunEvents(running.log.events).filter(({ rule }) => rule !== 'missing'), [])
})

t.test('the idempotency key is the same for each attempt of a call of a run, and no other\'s', async (t) => {
  const keys: string[] = []
  const tool = toolOf('pay', ({ idempotencyKey }) => { keys.push(idempotencyKey) })
  const alice = newRun('alice')
  const [first, other] = [await startRun(alice, [tool]), await startRun(newRun('alice'), [tool])]

  await first.call('pay', {}, 'a')
  await first.call('pay', {}, 'a')
  await first.call('pay', {}, 'b')
  await other.call('pay', {}, 'a')

  t.equal(keys[0], keys[1])
  t.equal(new Set(keys).size, 3)
  t.ok(keys[0]?.includes(alice.runId))
})

t.test('what came of a call is stored whole with its end, and what its agent hands in with its announcement', async (t) => {
  const running = await startRun(newRun('alice'), [toolOf('find', () => ({ password: 'otter' }))])
  const step = { key: 'model:assistant/1', body: { text: 'Let me see' } }

  await running.dispatch({ toolCallId: 'a', name: 'find', input: {}, step })

  const [executing, completed] = running.log.calls.slice(-2)
  t.match(executing, { event: { type: 'tool_executing' }, step })
  t.match(completed, {
    event: { type: 'tool_completed', payload: { result: { password: redacted } } },
    step: { key: 'tool:a', body: { tool: 'find', outcome: { success: true, result: { password: 'otter' } } } }
  })
})

t.test('a result that is too large is given to the agent, and not kept with the events of everybody', async (t) => {
  // kill: let `kept` of lib/tools/dispatcher.ts give back every outcome
  const large = 'a'.repeat(1_000_001)
  const running = await startRun(newRun('alice'), [toolOf('find', () => large), toolOf('less', () => 'b'.repeat(999_000))])

  t.same(await running.dispatch({ toolCallId: 'a', name: 'find', input: {} }), { success: true, result: large })
  await running.dispatch({ toolCallId: 'b', name: 'less', input: {} })

  const kept = running.log.calls.flatMap(({ step }) => step === undefined ? [] : [step])
  t.match(kept, [
    { key: 'tool:a', body: { tool: 'find', outcome: { success: false, error: { code: 'THREADLINE_TOOL_INTERRUPTED' } } } },
    { key: 'tool:b', body: { tool: 'less', outcome: { success: true } } }
  ])
})

t.test('a call that an earlier attempt has announced is made again without being announced, unless its tool is not repeatable', async (t) => {
  const seen: string[] = []
  const tools = [true, false].map((repeatable) => toolOf(repeatable ? 'pay' : 'launch', ({ toolCallId }) => { seen.push(toolCallId) }, { repeatable }))
  const running = await startRun(newRun('alice'), tools, createRecordingLog(), ['a', 'b'])

  const again = await running.dispatch({ toolCallId: 'a', name: 'pay', input: {}, announced: true })
  const refused = await running.dispatch({ toolCallId: 'b', name: 'launch', input: {}, announced: true })
  const first = await running.call('launch', {}, 'c')

  t.match([again, refused, first], [{ success: true }, { success: false, error: { code: 'THREADLINE_TOOL_INTERRUPTED' } }, { success: true }])
  t.same(seen, ['a', 'c'])
  t.same(running.log.types, ['tool_completed', 'tool_completed', 'tool_executing', 'tool_completed'])
})

t.test('B20 each tool call is a span of the hop tool, failed when the tool failed', async (t) => {
  spans.reset()
  const alice = newRun('alice')
  const running = await startRun(alice, [toolOf('good', () => 1), toolOf('bad', () => { throw new RangeError('no') })])

  await running.call('good', {}, 'call-a')
  await running.call('bad', {}, 'call-b')

  const recorded = spans.spans().filter(({ attributes }) => attributes['threadline.hop'] === 'tool')
  t.match(recorded.map(({ name, attributes }) => ({ name, attributes })), [
    { name: 'execute_tool good', attributes: { 'gen_ai.tool.name': 'good', 'gen_ai.tool.call.id': 'call-a', 'user.id': 'alice', 'gen_ai.conversation.id': alice.threadId } },
    { name: 'execute_tool bad', attributes: { 'error.type': 'RangeError', 'threadline.run.id': alice.runId } }
  ])
  t.same(recorded.map(({ status }) => status.code), [SpanStatusCode.UNSET, SpanStatusCode.ERROR])
})

// kill: the line with `guard` in emitter.ts.
t.test('D50 a dispatcher that is used in another run\'s context runs nothing', async (t) => {
  const violations = watchViolations(t)
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  let ran = 0
  const running = await startRun(alice, [toolOf('look', () => { ran += 1 })])

  await inRun(bob, async () => {
    await t.rejects(running.dispatcher.dispatch({ toolCallId: 'a', name: 'look', input: {} }), { code: 'THREADLINE_CONTEXT_MISMATCH' })
  })

  t.equal(ran, 0)
  t.same(running.log.types, ['agent_started'])
  t.match(violations, [{ place: 'emitter', kind: 'crossed', identity: { userId: 'bob' } }])
})

// kill: guard lets every identity pass.
t.test('D50 a tool that reaches for another user\'s resource is refused, counted, and told as failed', async (t) => {
  const violations = watchViolations(t)
  const bob = newRun('bob')
  const running = await startRun(newRun('alice'), [toolOf('steal', () => { guard({ userId: bob.userId }, 'storage') })])

  t.match(await running.call('steal'), { success: false, error: { code: 'THREADLINE_CONTEXT_MISMATCH' } })

  t.match(violations, [{ place: 'storage', kind: 'crossed', identity: { userId: 'alice', depth: 1 } }])
  t.notOk(JSON.stringify(running.log.events).includes('bob'))
})

t.test('an event that cannot be stored makes the call fail, and the tool does not run unannounced', async (t) => {
  let ran = 0
  const log = createRecordingLog(({ type }) => { if (type === 'tool_executing') throw new ThreadlineError('THREADLINE_CONFLICT') })
  const running = await startRun(newRun('alice'), [toolOf('look', () => { ran += 1 })], log)

  await t.rejects(running.call('look'), { code: 'THREADLINE_CONFLICT' })
  await running.dispatcher.settled()

  t.equal(ran, 0)
})
