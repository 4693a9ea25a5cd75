import { EventEmitter, once } from 'node:events'
import { readFile } from 'node:fs'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises'
import { context, propagation, trace } from '@opentelemetry/api'
import t from 'tap'
import {
  currentIdentity, currentRun, currentThread, enterThread, enterWithin, identityAttributes,
  tryCurrentIdentity, tryCurrentThread
} from '../../lib/context/current-thread.ts'
import { createChildIdentity, createIdentity } from '../../lib/context/identity.ts'
import { newConnectionId, newThreadId, toUserId } from '../../lib/protocol/ids.ts'
import { inRun, newRun } from '../support/identities.ts'

const noContext = { code: 'THREADLINE_NO_CONTEXT' }
const activeBaggage = (): Record<string, string> =>
  Object.fromEntries((propagation.getActiveBaggage()?.getAllEntries() ?? []).map(([name, { value }]) => [name, value]))

t.test('J123 outside of any message there is no context', async (t) => {
  t.throws(() => currentThread(), noContext)
  t.throws(() => currentIdentity(), noContext)
  t.throws(() => currentRun(), noContext)
  t.equal(tryCurrentThread(), undefined)
  t.equal(tryCurrentIdentity(), undefined)
})

// kill: tryCurrentIdentity falls back to the last identity that it has given.
t.test('J123 after a message there is no context again, never the last one', async (t) => {
  const alice = newRun('alice')
  const leftBehind = new EventEmitter()

  const seen = await inRun(alice, async () => {
    await Promise.resolve()
    return currentThread()
  })
  t.equal(seen, alice)
  t.throws(() => currentThread(), noContext)
  t.throws(() => enterThread(alice, () => { throw new Error('failed') }), { message: 'failed' })
  t.throws(() => currentThread(), noContext)
  await t.rejects(inRun(alice, async () => { await Promise.resolve(); throw new Error('failed') }), { message: 'failed' })
  t.throws(() => currentThread(), noContext)
  setImmediate(() => { leftBehind.emit('ran', tryCurrentThread()) })
  t.same(await once(leftBehind, 'ran'), [undefined])
})

t.test('J123 an identity without a thread or a run does not pretend to have one', async (t) => {
  const alice = createIdentity({ userId: toUserId('alice') })
  const inThread = createIdentity({ userId: alice.userId, threadId: newThreadId() })

  enterThread(alice, () => {
    t.equal(currentIdentity(), alice)
    t.throws(() => currentThread(), noContext)
    t.throws(() => currentRun(), noContext)
    t.equal(tryCurrentThread(), undefined)
  })
  enterThread(inThread, () => {
    t.equal(currentThread(), inThread)
    t.throws(() => currentRun(), noContext)
  })
})

// kill: enterThread builds on context.active() instead of ROOT_CONTEXT.
t.test('C25 a context is entered from nothing: neither identity, baggage, span nor value from around it is in it', async (t) => {
  const key = Symbol('outer')
  const [alice, bob] = [newRun('alice'), createIdentity({ userId: toUserId('bob') })]
  const outer = propagation.createBaggage({ 'user.id': { value: 'mallory' }, tenant: { value: 'outer' } })
  const span = { traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags: 1 }

  enterThread(alice, () => {
    const around = trace.setSpanContext(propagation.setBaggage(context.active(), outer).setValue(key, 'outer'), span)
    context.with(around, () => {
      enterThread(bob, () => {
        t.equal(currentIdentity(), bob)
        t.equal(tryCurrentThread(), undefined, 'the thread of the outer identity is not there')
        t.same(activeBaggage(), { 'user.id': 'bob', 'threadline.request.id': bob.requestId })
        t.equal(trace.getActiveSpan(), undefined)
        t.equal(context.active().getValue(key), undefined)
      })
    })
    t.equal(currentThread(), alice, 'and it is left as it was entered')
  })
})

t.test('C25 work hangs where it is told to: below a span, below another process, or at a new root', async (t) => {
  const spanContext = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1, isRemote: true }
  const spanId = (): string | undefined => trace.getActiveSpan()?.spanContext().spanId

  t.equal(enterThread(newRun('alice'), spanId, { parent: spanContext }), spanContext.spanId)
  t.equal(enterThread(newRun('alice'), spanId, { parent: trace.wrapSpanContext(spanContext) }), spanContext.spanId)
  t.equal(enterThread(newRun('alice'), spanId), undefined)
})

t.test('the baggage of the active context is the identity, no more and no less', async (t) => {
  const connected = createIdentity({ userId: toUserId('alice'), threadId: newThreadId(), connectionId: newConnectionId() })
  const awkward = createIdentity({ userId: toUserId('Ålice, "the" = ; 1%2C') })

  for (const identity of [newRun('alice'), connected, awkward]) {
    enterThread(identity, () => { t.same(activeBaggage(), identityAttributes(identity)) })
  }
  const run = newRun('alice')
  t.same(identityAttributes(run), {
    'user.id': 'alice',
    'gen_ai.conversation.id': run.threadId,
    'threadline.run.id': run.runId,
    'threadline.request.id': run.requestId
  })
  t.equal(propagation.getActiveBaggage(), undefined)
})

// kill: tryCurrentIdentity reads the baggage of the active context instead of the private key.
t.test('J121 baggage set by foreign code does not change who is being served', async (t) => {
  const alice = newRun('alice')
  const mallory = newRun('mallory')
  const forged = propagation.createBaggage(
    Object.fromEntries(Object.entries(identityAttributes(mallory)).map(([name, value]) => [name, { value }]))
  )

  await inRun(alice, async () => {
    await context.with(propagation.setBaggage(context.active(), forged), async () => {
      await Promise.resolve()
      t.equal(currentThread(), alice)
      t.equal(currentRun(), alice)
    })
    t.same(activeBaggage(), identityAttributes(alice))
  })
  context.with(propagation.setBaggage(context.active(), forged), () => { t.throws(() => currentThread(), noContext) })
})

t.test('an identity survives awaits, timers, microtasks, callbacks and streams', async (t) => {
  const alice = newRun('alice')
  const seen: Record<string, unknown> = {}
  const see = (place: string): void => { seen[place] = tryCurrentThread() }
  const called = async (call: (done: () => void) => unknown): Promise<void> => { await new Promise<void>((resolve) => { call(resolve) }) }

  await inRun(alice, async () => {
    await Promise.resolve()
    see('await')
    await delay(1)
    see('promised timer')
    await immediate()
    see('promised immediate')
    await called((done) => setTimeout(() => { see('timer'); done() }, 1))
    await called((done) => setImmediate(() => { see('immediate'); done() }))
    await called((done) => { process.nextTick(() => { see('next tick'); done() }) })
    await called((done) => { queueMicrotask(() => { see('microtask'); done() }) })
    await called((done) => { readFile(import.meta.filename, () => { see('file'); done() }) })
    await Promise.all([Promise.resolve().then(() => { see('then') }), Promise.reject(new Error('no')).catch(() => { see('catch') })])
    const transform = new Transform({ transform (chunk, _encoding, done) { see('transform'); done(null, chunk) } })
    await pipeline(Readable.from(['a', 'b']), transform, async (source) => {
      for await (const chunk of source) if (String(chunk) !== '') see('stream')
    })
    see('after the stream')
  })

  const places = [
    'await', 'promised timer', 'promised immediate', 'timer', 'immediate', 'next tick', 'microtask', 'file', 'then', 'catch',
    'transform', 'stream', 'after the stream'
  ]
  t.same(Object.keys(seen).toSorted(), places.toSorted())
  for (const place of places) t.equal(seen[place], alice, place)
})

// kill: tryCurrentIdentity keeps the first identity that it finds in a module variable.
t.test('J122 two messages that take turns at every step each see their own thread at every step', async (t) => {
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const turns = Array.from({ length: 41 }, () => Promise.withResolvers<void>())
  const seen: unknown[] = []

  const play = async (first: number): Promise<void> => {
    for (let turn = first; turn < 40; turn += 2) {
      await turns[turn]?.promise
      seen.push(currentThread())
      turns[turn + 1]?.resolve()
    }
  }
  const playing = [inRun(alice, async () => { await play(0) }), inRun(bob, async () => { await play(1) })]
  turns[0]?.resolve()
  await Promise.all(playing)

  t.equal(seen.length, 40)
  t.ok(seen.every((identity, turn) => identity === (turn % 2 === 0 ? alice : bob)))
})

t.test('an identity can be narrowed for its own user only', async (t) => {
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const child = createChildIdentity(alice, 'search')
  const mismatch = { code: 'THREADLINE_CONTEXT_MISMATCH' }

  enterThread(alice, () => {
    enterWithin(child, () => {
      t.equal(currentRun(), child)
      t.same(activeBaggage(), identityAttributes(child))
    })
    t.equal(currentRun(), alice)
    t.throws(() => { enterWithin(bob, () => { t.fail('entered') }) }, mismatch)
  })
  t.throws(() => { enterWithin(child, () => { t.fail('entered') }) }, mismatch)
})
