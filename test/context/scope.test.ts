import { diag, DiagLogLevel } from '@opentelemetry/api'
import t, { type Test } from 'tap'
import { currentThread } from '../../lib/context/current-thread.ts'
import { leaveScope, onLeave, withScope } from '../../lib/context/scope.ts'
import { inRun, newRun } from '../support/identities.ts'

/** What is reported to the diagnostics logger until the end of the test. */
function watchDiagnostics (t: Test): readonly unknown[][] {
  const errors: unknown[][] = []
  const ignore = (): void => {}
  const logger = { error: (...args: unknown[]) => { errors.push(args) }, warn: ignore, info: ignore, debug: ignore, verbose: ignore }
  diag.setLogger(logger, { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true })
  t.teardown(() => { diag.disable() })
  return errors
}

t.test('C38 cleanups of which one throws all run once, the last added first, also when it is cleaned up twice', async (t) => {
  const reported = watchDiagnostics(t)
  const ran: string[] = []

  const result = await withScope(async () => {
    onLeave(() => { ran.push('first') })
    onLeave(async () => { await Promise.resolve(); ran.push('second') })
    onLeave(() => { ran.push('third'); throw new Error('a cleanup failed') })
    onLeave(() => { ran.push('fourth') })
    await leaveScope()
    await leaveScope()
    return 'done'
  })

  t.same(ran, ['fourth', 'third', 'second', 'first'])
  t.equal(result, 'done')
  t.match(reported, [[/cleanup/, { message: 'a cleanup failed' }]])
})

t.test('C38 an asynchronous cleanup has ended before the one added earlier begins', async (t) => {
  const ran: string[] = []

  await withScope(async () => {
    onLeave(() => { ran.push('first') })
    onLeave(async () => {
      ran.push('second begins')
      await new Promise((resolve) => { setImmediate(resolve) })
      ran.push('second ends')
    })
  })

  t.same(ran, ['second begins', 'second ends', 'first'])
})

t.test('C39 a body that throws is cleaned up after, and its error reaches the caller', async (t) => {
  const reported = watchDiagnostics(t)
  const ran: string[] = []
  const error = new Error('the body failed')

  await t.rejects(withScope(async () => {
    onLeave(() => { ran.push('first') })
    onLeave(() => { throw new Error('a cleanup failed too') })
    await Promise.resolve()
    throw error
  }), error)

  t.same(ran, ['first'])
  t.match(reported, [[/cleanup/, { message: 'a cleanup failed too' }]])
})

t.test('C39 a body that throws before it waits is cleaned up after as well', async (t) => {
  const ran: string[] = []

  await t.rejects(withScope(() => {
    onLeave(() => { ran.push('first') })
    throw new Error('the body failed')
  }), { message: 'the body failed' })

  t.same(ran, ['first'])
})

t.test('C39 a scope inside another ends first, and takes nothing of it along', async (t) => {
  const ran: string[] = []

  await withScope(async () => {
    onLeave(() => { ran.push('outer') })
    await withScope(async () => { onLeave(() => { ran.push('inner') }) })
    ran.push('between')
  })

  t.same(ran, ['inner', 'between', 'outer'])
})

// kill: all scopes are one stack in a module variable.
t.test('K128 scopes of two users end apart, each cleanup in the identity of its own', async (t) => {
  const [alice, bob] = [newRun('alice'), newRun('bob')]
  const ran: string[] = []
  const bobMayEnd = Promise.withResolvers<void>()
  const note = (): void => { ran.push(currentThread().userId) }

  const running = inRun(bob, async () => { await withScope(async () => { onLeave(note); await bobMayEnd.promise }) })
  await inRun(alice, async () => { await withScope(async () => { onLeave(note) }) })
  t.same(ran, ['alice'])
  bobMayEnd.resolve()
  await running

  t.same(ran, ['alice', 'bob'])
})

t.test('nothing can be left to a scope that is not there, or has ended', async (t) => {
  const noContext = { code: 'THREADLINE_NO_CONTEXT' }
  let late: Promise<void> | undefined
  const ended = Promise.withResolvers<void>()

  await withScope(async () => {
    late = ended.promise.then(() => { onLeave(() => {}) })
    await leaveScope()
    t.throws(() => { onLeave(() => {}) }, noContext)
  })
  ended.resolve()

  await t.rejects(Promise.resolve(late), noContext)
  t.throws(() => { onLeave(() => {}) }, noContext)
  await leaveScope()
})
