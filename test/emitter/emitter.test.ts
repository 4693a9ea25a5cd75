import { setImmediate as immediate } from 'node:timers/promises'
import { trace } from '@opentelemetry/api'
import t from 'tap'
import { childRequest } from '../../lib/context/child-request.ts'
import { createIdentity, createRunIdentity, type RunIdentity } from '../../lib/context/identity.ts'
import { withHop } from '../../lib/context/hop.ts'
import { enterThread } from '../../lib/context/current-thread.ts'
import { parseTraceparent } from '../../lib/context/traceparent.ts'
import { createEmitter, type Emitter, type EmitterOptions } from '../../lib/emitter/emitter.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import type { ThreadEvent } from '../../lib/protocol/events.ts'
import { isMessageId, newMessageId, newRunId } from '../../lib/protocol/ids.ts'
import { createArrivals } from '../support/arrivals.ts'
import { inRun, newRun } from '../support/identities.ts'
import { createRecordingLog } from '../support/recording-log.ts'
import { collectSpans } from '../support/spans.ts'
import { watchViolations } from '../support/violations.ts'

const spans = collectSpans()
t.beforeEach(() => { spans.reset() })

const started = { agent: 'assistant', message_id: newMessageId(), input: 'hello' }
const thinking = (message: string) => ({ message, step: 0 })
const unavailable = (): ThreadlineError => new ThreadlineError('THREADLINE_STORAGE_UNAVAILABLE')
const mismatch = { code: 'THREADLINE_CONTEXT_MISMATCH' }

/** An emitter of the run; deltas wait until something else makes them go, unless they are told otherwise. */
function emitterOf (run: RunIdentity, options: Partial<EmitterOptions> & Pick<EmitterOptions, 'log'>): Emitter {
  return enterThread(run, () => createEmitter({
    attempt: 1, agentName: 'assistant', deltaLimits: { maxDelayMs: 60_000, maxCharacters: 1_000 }, ...options
  }))
}

t.test('F75 an event says what, when, whose, in which thread, run and request, and by which agent', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const emitter = emitterOf(alice, { log, attempt: 3 })

  const [event, spanContext] = await inRun(alice, async () => await withHop('engine', {}, async (span) =>
    [await emitter.emit('agent_started', started), span.spanContext()] as const))

  t.strictSame(event, {
    type: 'agent_started',
    event_id: event.event_id,
    timestamp: new Date(event.timestamp).toISOString(),
    user_id: 'alice',
    thread_id: alice.threadId,
    run_id: alice.runId,
    request_id: alice.requestId,
    agent_name: 'assistant',
    payload: started,
    traceparent: event.traceparent,
    sequence: 1,
    epoch: 'epoch'
  })
  t.ok(isMessageId(event.event_id))
  t.equal(parseTraceparent(event.traceparent)?.traceId, spanContext.traceId)
  t.strictSame(log.calls.map(({ attempt }) => attempt), [3])
})

t.test('J124 each event but a piece of text is a hop of its own, and its trace field names that hop', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const emitter = emitterOf(alice, { log })

  await inRun(alice, async () => await withHop('engine', {}, async () => {
    await emitter.emit('agent_started', started)
    emitter.delta('Hi', 1)
    await emitter.flush()
    await emitter.emit('agent_completed', { status: 'completed' })
  }))

  const hops = spans.spans().filter(({ attributes }) => attributes['threadline.hop'] === 'emitter')
  const [first, text, last] = log.events
  t.same(log.types, ['agent_started', 'agent_delta', 'agent_completed'])
  t.strictSame(hops.map(({ attributes }) => [attributes['threadline.event.type'], attributes['threadline.event.id'], attributes['threadline.event.sequence']]), [
    ['agent_started', first?.event_id, 1], ['agent_completed', last?.event_id, 3]
  ])
  t.strictSame([first, last].map((event) => parseTraceparent(event?.traceparent)?.spanId), hops.map((span) => span.spanContext().spanId))
  t.equal(parseTraceparent(text?.traceparent)?.traceId, hops[0]?.spanContext().traceId)
})

t.test('F74 events are stored one after the other in the order of the calls, however long each takes', async (t) => {
  const alice = newRun('alice')
  const gates = createArrivals<{ type: string, open: () => void }>()
  let inside = 0
  let most = 0
  const log = createRecordingLog(async ({ type }) => {
    most = Math.max(most, inside += 1)
    await new Promise<void>((resolve) => { gates.push({ type, open: resolve }) })
    inside -= 1
  })
  const emitter = emitterOf(alice, { log })

  const telling = inRun(alice, async () => {
    const told: Promise<ThreadEvent>[] = [emitter.emit('agent_started', started)]
    emitter.delta('He', 1)
    emitter.delta('llo', 1)
    told.push(emitter.emit('agent_thinking', thinking('more')))
    emitter.delta(' you', 2)
    told.push(emitter.emit('agent_completed', { status: 'completed' }))
    return await Promise.all(told)
  })
  for (const expected of ['agent_started', 'agent_delta', 'agent_thinking', 'agent_delta', 'agent_completed']) {
    const { type, open } = await gates.next()
    t.equal(type, expected)
    await immediate()
    open()
  }
  const told = await telling

  t.equal(most, 1)
  t.same(told.map(({ sequence }) => sequence), [1, 3, 5])
  t.same(log.events.filter(({ type }) => type === 'agent_delta').map(({ payload }) => payload), [{ text: 'Hello', step: 1 }, { text: ' you', step: 2 }])
})

t.test('F75 an event holds what its payload was at the call', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const emitter = emitterOf(alice, { log })
  const payload = { message: 'before', step: 0 }

  await inRun(alice, async () => {
    const told = [emitter.emit('agent_started', started), emitter.emit('agent_thinking', payload)]
    payload.message = 'after'
    await Promise.all(told)
  })

  t.same(log.events[1]?.payload, { message: 'before', step: 0 })
})

t.test('F88 an odd payload becomes JSON', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const emitter = emitterOf(alice, { log })
  const circular: Record<string, unknown> = { at: new Date(0), set: new Set([1n]) }
  circular['self'] = circular

  await inRun(alice, async () => {
    await emitter.emit('agent_started', started)
    await emitter.emit('tool_executing', { tool_call_id: 'a', tool: 'search', parameters: circular })
  })

  t.same(log.events[1]?.payload, {
    tool_call_id: 'a', tool: 'search', parameters: { at: '1970-01-01T00:00:00.000Z', set: ['1'], self: '[circular]' }
  })
})

t.test('F84 two appends fail and the third works: one event, under one id, and what follows waits for it', async (t) => {
  const alice = newRun('alice')
  const log = createRecordingLog((_, call) => { if (call <= 2) throw unavailable() })
  const emitter = emitterOf(alice, { log })

  const told = await inRun(alice, async () => await Promise.all([
    emitter.emit('agent_started', started), emitter.emit('agent_thinking', thinking('next'))
  ]))

  t.same(log.types, ['agent_started', 'agent_thinking'])
  t.same(log.calls.map(({ event }) => event.type), ['agent_started', 'agent_started', 'agent_started', 'agent_thinking'])
  t.equal(new Set(log.calls.slice(0, 3).map(({ event }) => event.event_id)).size, 1)
  t.equal(told[0].event_id, log.events[0]?.event_id)
})

t.test('F84 an append whose answer was lost is tried again under the same id, so that the log knows it', async (t) => {
  const alice = newRun('alice')
  const stored = createRecordingLog()
  let answers = 0
  const emitter = emitterOf(alice, {
    log: {
      async append (event, attempt) {
        const placed = await stored.append(event, attempt)
        if ((answers += 1) === 1) throw unavailable()
        return placed
      }
    }
  })

  const event = await inRun(alice, async () => await emitter.emit('agent_started', started))

  t.equal(event.sequence, 1)
  t.same(stored.types, ['agent_started'])
  t.equal(stored.calls.length, 2)
})

t.test('F84 a log that stays away is given up, the end of a run later than the rest', async (t) => {
  const alice = newRun('alice')
  const log = createRecordingLog((_, call) => { if (call > 1 && call <= 11) throw unavailable() })
  const emitter = emitterOf(alice, { log })

  await inRun(alice, async () => {
    await emitter.emit('agent_started', started)
    await t.rejects(emitter.emit('agent_thinking', { message: 'hm', step: 0 }), { code: 'THREADLINE_STORAGE_UNAVAILABLE' })
    t.equal(log.calls.length, 6)
    await emitter.emit('agent_completed', { status: 'failed' })
  })

  t.same(log.types, ['agent_started', 'agent_completed'])
  t.equal(log.calls.length, 12)
})

t.test('F84 an error that trying again cannot mend is thrown at once, and the next event is stored', async (t) => {
  const alice = newRun('alice')
  const log = createRecordingLog((_, call) => { if (call === 2) throw new ThreadlineError('THREADLINE_CONFLICT') })
  const emitter = emitterOf(alice, { log })

  await inRun(alice, async () => {
    await emitter.emit('agent_started', started)
    await t.rejects(emitter.emit('agent_thinking', thinking('lost')), { code: 'THREADLINE_CONFLICT' })
    await emitter.emit('agent_completed', { status: 'completed' })
  })

  t.same(log.types, ['agent_started', 'agent_completed'])
})

t.test('who wants to know is told that the log takes nothing more of the run, and of no other failure', async (t) => {
  for (const code of ['THREADLINE_CONFLICT', 'THREADLINE_THREAD_NOT_FOUND', 'THREADLINE_INTERNAL'] as const) {
    const alice = newRun('alice')
    const told: unknown[] = []
    const log = createRecordingLog((_, call) => { if (call === 2) throw new ThreadlineError(code) })
    const emitter = emitterOf(alice, { log, refused: (error) => { told.push(error.code) } })

    await inRun(alice, async () => {
      await emitter.emit('agent_started', started)
      emitter.delta('lost', 1)
      await t.rejects(emitter.flush(), { code })
    })

    t.same(told, code === 'THREADLINE_INTERNAL' ? [] : [code])
  }
})

t.test('F77 an emitter that is given open tools ends them, and then the run, without starting it again', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const emitter = emitterOf(alice, { log, openTools: ['a'] })
  const completed = { tool_call_id: 'a', tool: 'search', success: false, duration_ms: 0 }

  await inRun(alice, async () => {
    await t.rejects(emitter.emit('agent_completed', { status: 'failed' }), { code: 'THREADLINE_INVALID_EVENT' })
    await emitter.emit('tool_completed', completed)
    await emitter.emit('agent_completed', { status: 'failed' })
  })

  t.same(log.types, ['tool_completed', 'agent_completed'])
  t.same(emitter.openTools, [])
})

t.test('a run that somebody else has begun goes on without another start, with or without open tools', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const emitter = emitterOf(alice, { log, attempt: 2, begun: true })

  await inRun(alice, async () => {
    await t.rejects(emitter.emit('agent_started', started), { code: 'THREADLINE_INVALID_EVENT' })
    await emitter.emit('agent_resumed', { attempt: 2 })
    await emitter.emit('agent_completed', { status: 'completed' })
  })

  t.same(log.types, ['agent_resumed', 'agent_completed'])
})

// kill: no `step` in `append` of lib/emitter/run-log.ts
t.test('a step is handed in with its event and no other, and again when the append is tried again, under the same event id', async (t) => {
  const log = createRecordingLog((_event, call) => { if (call === 2) throw unavailable() })
  const alice = newRun('alice')
  const emitter = emitterOf(alice, { log })
  const step = { key: 'tool:call-1', body: { tool: 'search', outcome: { success: true, result: { token: 'secret' } } } }

  await inRun(alice, async () => {
    await emitter.emit('agent_started', started)
    await emitter.emit('agent_thinking', thinking('hm'), { step })
    await emitter.emit('agent_completed', { status: 'completed' })
  })

  t.same(log.calls.map((call) => call.step), [undefined, step, step, undefined])
  t.equal(log.calls[1]?.event.event_id, log.calls[2]?.event.event_id)
  t.notMatch(JSON.stringify(log.events), 'secret')
})

// kill: the line with `guard` in emitter.ts.
t.test('D50 whatever of an emitter is used in another user\'s context is refused and counted, and nothing is appended', async (t) => {
  const violations = watchViolations(t)
  const [alice, bob, log] = [newRun('alice'), newRun('bob'), createRecordingLog()]
  const emitter = emitterOf(alice, { log })
  await inRun(alice, async () => {
    await emitter.emit('agent_started', started)
    emitter.delta('Alice\'s', 1)
  })

  await inRun(bob, async () => {
    await t.rejects(emitter.emit('agent_completed', { status: 'completed' }), mismatch)
    t.throws(() => { emitter.delta('Bob\'s', 1) }, mismatch)
    await t.rejects(emitter.flush(), mismatch)
  })
  await t.rejects(emitter.emit('agent_thinking', thinking('nobody')), mismatch, 'nor outside of any')

  t.same(log.types, ['agent_started'])
  t.match(violations, [
    { place: 'emitter', kind: 'crossed', identity: { userId: 'bob' }, owner: { userId: 'alice', threadId: alice.threadId, runId: alice.runId } },
    { place: 'emitter', kind: 'crossed' }, { place: 'emitter', kind: 'crossed' }, { place: 'emitter', kind: 'lost' }
  ])
  await inRun(alice, async () => { await emitter.emit('agent_completed', { status: 'completed' }) })
  t.same(log.events.map(({ type, payload, user_id: user }) => [type, 'text' in payload ? payload.text : '', user]), [
    ['agent_started', '', 'alice'], ['agent_delta', 'Alice\'s', 'alice'], ['agent_completed', '', 'alice']
  ], 'and what it had gathered is whole')
})

// kill: the guard of the emitter compares no run.
t.test('D51 another run of the same user and thread is refused too; a child request of the run is the run', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const next = createRunIdentity({ userId: alice.userId, threadId: alice.threadId, runId: newRunId(alice.threadId) })
  const emitter = emitterOf(alice, { log })

  await inRun(next, async () => { await t.rejects(emitter.emit('agent_started', started), mismatch) })
  await inRun(createIdentity({ userId: alice.userId, threadId: alice.threadId }), async () => {
    await t.rejects(emitter.emit('agent_started', started), mismatch)
  })
  await inRun(alice, async () => { await childRequest('step', async () => await emitter.emit('agent_started', started)) })

  t.same(log.events.map(({ type, request_id: request }) => [type, request]), [['agent_started', alice.requestId]])
})

t.test('B22 outside of a run there is no emitter', async (t) => {
  const options = { log: createRecordingLog(), attempt: 1, agentName: 'assistant' }
  const { userId, threadId } = newRun('alice')

  t.throws(() => createEmitter(options), { code: 'THREADLINE_NO_CONTEXT' })
  enterThread(createIdentity({ userId, threadId }), () => { t.throws(() => createEmitter(options), { code: 'THREADLINE_NO_CONTEXT' }) })
})

t.test('F77 an event that breaks the story of the run is refused and not appended', async (t) => {
  const [alice, log] = [newRun('alice'), createRecordingLog()]
  const emitter = emitterOf(alice, { log })
  const invalid = (message: RegExp) => ({ code: 'THREADLINE_INVALID_EVENT', message })
  const tool = { tool_call_id: 'a', tool: 'search' }

  await inRun(alice, async () => {
    await t.rejects(emitter.emit('agent_completed', { status: 'completed' }), invalid(/before-start/))
    await emitter.emit('agent_started', started)
    await t.rejects(emitter.emit('agent_started', started), invalid(/started-twice/))
    await t.rejects(emitter.emit('tool_completed', { ...tool, success: true, duration_ms: 1 }), invalid(/tool-not-executing/))
    await emitter.emit('tool_executing', { ...tool, parameters: {} })
    t.same([emitter.openTools, emitter.ended], [['a'], false])
    await t.rejects(emitter.emit('agent_completed', { status: 'completed' }), invalid(/tool-unfinished/))
    await emitter.emit('tool_completed', { ...tool, success: true, duration_ms: 1 })
    const endings = await Promise.allSettled([1, 2, 3].map(async () => await emitter.emit('agent_completed', { status: 'completed' })))
    t.same(endings.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected'])
    t.same([emitter.openTools, emitter.ended], [[], true])
  })

  t.same(log.types, ['agent_started', 'tool_executing', 'tool_completed', 'agent_completed'])
})

t.test('pieces of text are told together, in order: at the latest after their time, or when there are enough, or before anything else', async (t) => {
  const alice = newRun('alice')
  const arrivals = createArrivals<unknown>()
  const log = createRecordingLog(({ payload }) => { arrivals.push(payload) })
  const emitter = emitterOf(alice, { log, deltaLimits: { maxDelayMs: 5, maxCharacters: 10 } })

  await inRun(alice, async () => {
    await emitter.emit('agent_started', started)
    for (const piece of ['a', '', 'b', 'c']) emitter.delta(piece, 1)
    t.same([await arrivals.next(), await arrivals.next()], [started, { text: 'abc', step: 1 }], 'after their time')
    emitter.delta('0123456789', 1)
    emitter.delta('x', 1)
    t.same([await arrivals.next(), await arrivals.next()], [{ text: '0123456789', step: 1 }, { text: 'x', step: 1 }], 'enough')
    emitter.delta('y', 1)
    emitter.delta('z', 2)
    await emitter.emit('agent_completed', { status: 'completed' })
    t.same([await arrivals.next(), await arrivals.next()], [{ text: 'y', step: 1 }, { text: 'z', step: 2 }], 'before anything else')
  })

  t.equal(log.events.at(-1)?.type, 'agent_completed')
})

// kill: DeltaBuffer arms its timer in ROOT_CONTEXT, with a function that is not bound.
t.test('text that is told by a timer is told in the identity and trace of its run', async (t) => {
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const arrivals = createArrivals<string | undefined>()
  const log = createRecordingLog(({ type, traceparent }) => { if (type === 'agent_delta') arrivals.push(traceparent) })
  const emitters = [alice, bob].map((run) => emitterOf(run, { log, deltaLimits: { maxDelayMs: 5, maxCharacters: 10 } }))

  const traces = await Promise.all([alice, bob].map(async (run, index) => await inRun(run, async () => await withHop('engine', {}, async () => {
    await emitters[index]?.emit('agent_started', started)
    emitters[index]?.delta(`for ${run.userId}`, 1)
    return trace.getActiveSpan()?.spanContext().traceId
  }))))
  const told = [await arrivals.next(), await arrivals.next()]

  t.same(new Set(told.map((text) => parseTraceparent(text)?.traceId)), new Set(traces))
  for (const { user_id: user, payload } of log.events) if ('text' in payload) t.equal(payload.text, `for ${user}`)
})

t.test('text that could not be stored makes the flush fail, with its first error, and no promise is left without a handler', async (t) => {
  const alice = newRun('alice')
  const log = createRecordingLog((event) => {
    if (event.type === 'agent_delta') throw new ThreadlineError('THREADLINE_CONFLICT', 'text' in event.payload ? event.payload.text : '')
  })
  const emitter = emitterOf(alice, { log })

  await inRun(alice, async () => {
    await emitter.emit('agent_started', started)
    emitter.delta('first', 1)
    emitter.delta('second', 2)
    await t.rejects(emitter.flush(), { code: 'THREADLINE_CONFLICT', message: 'first' })
    await emitter.emit('agent_completed', { status: 'failed' })
    emitter.delta('too late', 2)
    await t.rejects(emitter.flush(), { message: 'first' })
  })

  t.same(log.types, ['agent_started', 'agent_completed'])
})
