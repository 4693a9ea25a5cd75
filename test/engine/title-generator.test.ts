import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { currentRun } from '../../lib/context/current-thread.ts'
import type { RunIdentity } from '../../lib/context/identity.ts'
import type { EndedRun } from '../../lib/engine/ended-runs.ts'
import { createTitleGenerator, type TitleGenerator, type TitleGeneratorOptions } from '../../lib/engine/title-generator.ts'
import { ThreadlineError } from '../../lib/errors.ts'
import { toModelError } from '../../lib/models/model-error.ts'
import type { ThreadView } from '../../lib/protocol/events.ts'
import { newMessageId, type ThreadId } from '../../lib/protocol/ids.ts'
import { createArrivals } from '../support/arrivals.ts'
import { inRun, newRun } from '../support/identities.ts'
import { createScriptedModel, type ScriptedModel } from '../support/scripted-model.ts'
import { createSilentLogger } from '../support/silent-logger.ts'

interface Titled { readonly thread: ThreadView, readonly identity: RunIdentity }

/** A generator over threads that are known by their title alone; those that are not named have none. */
function createGenerator (scripted: ScriptedModel, options: Partial<TitleGeneratorOptions> & { titles?: Map<ThreadId, string> } = {}) {
  const { titles = new Map<ThreadId, string>(), ...rest } = options
  const logger = createSilentLogger()
  const titled = createArrivals<Titled>()
  const used: object[] = []
  const viewOf = (threadId: ThreadId): ThreadView => ({
    thread_id: threadId, title: titles.get(threadId) ?? null, metadata: {}, created_at: '', updated_at: '', archived_at: null, deleted_at: null
  })
  const generator = createTitleGenerator({
    model: scripted.model,
    toModelError,
    threads: {
      require: async (threadId) => viewOf(threadId),
      suggestTitle: async (threadId, title) => {
        if (titles.has(threadId)) return undefined
        titles.set(threadId, title)
        return viewOf(threadId)
      }
    },
    account: { recordUsage: async (usage) => { used.push({ ...usage, identity: currentRun() }) } },
    timeoutMs: 60_000,
    logger,
    titled: (thread) => { titled.push({ thread, identity: currentRun() }) },
    ...rest
  })
  return { generator, titles, titled, used, logger }
}

/** A completed first exchange, unless the test says otherwise. */
function endOf ({ userId, threadId, runId, requestId }: RunIdentity): EndedRun {
  return {
    run: {
      userId, threadId, runId, requestId, messageId: newMessageId(), connectionId: null, agent: 'echo', input: `message of ${userId}`, context: {},
      status: 'running', attempt: 1, traceparent: null, createdAt: '', startedAt: null, finishedAt: null, error: null,
      signature: null, givenBack: 0, stopReason: null
    },
    status: 'completed',
    content: 'an answer',
    messagesBefore: 0
  }
}

async function considerEnd (generator: TitleGenerator, run: RunIdentity, changes: Partial<EndedRun> = {}): Promise<void> {
  await inRun(run, async () => { generator.consider({ ...endOf(run), ...changes }) })
}

async function untilIdle (generator: TitleGenerator): Promise<void> {
  while (generator.load.working + generator.load.waiting > 0) await immediate()
}

t.test('a thread without title is given what the model says, and what that has cost is kept', async (t) => {
  const titler = createScriptedModel('titler')
  const { generator, titled, used, logger } = createGenerator(titler)
  const alice = newRun('alice')

  await considerEnd(generator, alice)
  const call = await titler.calls.next()
  call.say('"All about bees."')
  const { thread, identity } = await titled.next()
  await untilIdle(generator)

  t.match(call.asked, /message of alice.*an answer/)
  t.equal(call.options.maxOutputTokens, 32)
  t.match(thread, { thread_id: alice.threadId, title: 'All about bees' })
  t.equal(identity, alice)
  t.match(used, [{ runId: alice.runId, threadId: alice.threadId, model: 'titler-2026', inputTokens: 7, outputTokens: 3, identity: alice }])
  t.same(logger.lines, [])
})

t.test('no model is asked about a thread that has a title, or is past its beginning, or for a run that did not complete with an answer', async (t) => {
  const titler = createScriptedModel('titler')
  const [run, known] = [newRun('alice'), newRun('alice')]
  const { generator } = createGenerator(titler, { titles: new Map([[known.threadId, 'Mine']]) })

  await considerEnd(generator, known)
  await considerEnd(generator, run, { messagesBefore: 7 })
  await considerEnd(generator, run, { status: 'cancelled' })
  await considerEnd(generator, run, { status: 'failed', content: 'half an answer' })
  await inRun(run, async () => { generator.consider({ run: endOf(run).run, status: 'completed' }) })
  await untilIdle(generator)

  t.equal(titler.called, 0)
})

t.test('the title of a thread is looked for once at a time, and again when none was found', async (t) => {
  const titler = createScriptedModel('titler')
  const { generator, titled } = createGenerator(titler)
  const alice = newRun('alice')

  await considerEnd(generator, alice)
  await considerEnd(generator, alice)
  const first = await titler.calls.next()
  const { working } = generator.load
  first.say('')
  await untilIdle(generator)
  await considerEnd(generator, alice)
  const second = await titler.calls.next()
  second.say('Found')

  t.match((await titled.next()).thread, { title: 'Found' })
  t.equal(working, 1)
  t.equal(titler.called, 2)
})

t.test('a title that the user has given meanwhile stays, and nobody is told', async (t) => {
  const titler = createScriptedModel('titler')
  const { generator, titles, titled } = createGenerator(titler)
  const alice = newRun('alice')

  await considerEnd(generator, alice)
  const call = await titler.calls.next()
  titles.set(alice.threadId, 'Mine')
  call.say('Not mine')
  await untilIdle(generator)

  t.equal(titles.get(alice.threadId), 'Mine')
  t.same(titled.waiting, [])
})

// kill: take `slots.acquire` out of lib/engine/title-generator.ts; or, for the identities, bind `title` once, at the first `consider`
t.test('at most four titles are looked for at once, at most sixty-four wait, and what is more is left and logged once', async (t) => {
  const titler = createScriptedModel('titler')
  const { generator, titled, logger } = createGenerator(titler)
  const runs = Array.from({ length: 80 }, (_, index) => newRun(`user-${index}`))

  for (const run of runs) await considerEnd(generator, run)
  const load = { ...generator.load }
  const told: Titled[] = []
  for (let index = 0; index < 68; index += 1) {
    const call = await titler.calls.next()
    call.say(`Title for ${/message of (user-\d+)/.exec(call.asked)?.[1]}`)
    told.push(await titled.next())
  }
  await untilIdle(generator)

  t.same(load, { working: 4, waiting: 64 })
  t.equal(titler.mostAtOnce, 4)
  t.equal(titler.called, 68)
  t.match(logger.lines, [{ level: 'warn', message: 'threads are given no titles, since too many wait' }])
  t.equal(logger.lines.length, 1)
  for (const { thread, identity } of told) {
    t.equal(thread.title, `Title for ${identity.userId}`, 'in the identity of its own run, whoever made room for it')
    t.equal(thread.thread_id, identity.threadId)
  }
})

// kill: no `limit` in the signal of `askForTitle` of lib/engine/title-generator.ts
t.test('a model that does not answer in time is given up, also one that heeds nothing, and its place is free', async (t) => {
  for (const heedless of [false, true]) {
    const titler = createScriptedModel('titler', { heedless })
    const { generator, titles, logger } = createGenerator(titler, { timeoutMs: 20 })

    await considerEnd(generator, newRun('alice'))
    const call = await titler.calls.next()
    await untilIdle(generator)
    call.say('Too late')
    await immediate()

    t.match(logger.lines, [{ level: 'warn', fields: { err: { code: 'THREADLINE_TIMED_OUT' } } }])
    t.ok(call.options.abortSignal?.aborted)
    t.equal(titles.size, 0)
  }
})

t.test('a model that fails, or says nothing, leaves the thread as it is, with a line in the log', async (t) => {
  const titler = createScriptedModel('titler')
  const { generator, titles, used, logger } = createGenerator(titler)

  await considerEnd(generator, newRun('alice'))
  const failing = await titler.calls.next()
  failing.fail(new Error('the key sk-1 is not valid'))
  await untilIdle(generator)
  await considerEnd(generator, newRun('bob'))
  const silent = await titler.calls.next()
  silent.say('""')
  await untilIdle(generator)

  t.match(logger.lines, [{ fields: { err: { code: 'THREADLINE_MODEL_FAILED' } } }, { fields: { err: { code: 'THREADLINE_MODEL_FAILED' } } }])
  t.equal(titles.size, 0)
  t.equal(used.length, 1, 'what was answered has cost something')
})

t.test('a thread that is deleted before its title is looked for is no failure', async (t) => {
  const titler = createScriptedModel('titler')
  const { generator, logger } = createGenerator(titler, {
    threads: { require: () => Promise.reject(new ThreadlineError('THREADLINE_THREAD_NOT_FOUND')), suggestTitle: async () => undefined }
  })

  await considerEnd(generator, newRun('alice'))
  await untilIdle(generator)

  t.equal(titler.called, 0)
  t.same(logger.lines, [])
})

t.test('closing aborts what goes on and what waits, waits for its end, and takes up nothing more', async (t) => {
  const titler = createScriptedModel('titler')
  const { generator, titles, logger } = createGenerator(titler)
  for (let index = 0; index < 6; index += 1) await considerEnd(generator, newRun(`user-${index}`))
  const call = await titler.calls.next()

  await generator.close()
  await considerEnd(generator, newRun('late'))

  t.same(generator.load, { working: 0, waiting: 0 })
  t.ok(call.options.abortSignal?.aborted)
  t.equal(titles.size, 0)
  t.same(logger.lines, [])
})
