import { context, createContextKey, ROOT_CONTEXT, type Context, type ContextManager } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import t from 'tap'
import { registerContextManager } from '../../lib/context/context-manager.ts'

/** Keeps contexts on a stack, as in a browser: what runs later finds nothing. */
function createStackManager (): ContextManager {
  const stack: Context[] = []
  const manager: ContextManager = {
    active: () => stack.at(-1) ?? ROOT_CONTEXT,
    with (entered, fn, thisArgument, ...args) {
      stack.push(entered)
      try {
        return fn.call(thisArgument as ThisParameterType<typeof fn>, ...args)
      } finally {
        stack.pop()
      }
    },
    bind: (_, target) => target,
    enable: () => manager,
    disable: () => manager
  }
  return manager
}

const marked = ROOT_CONTEXT.setValue(createContextKey('test'), true)
const keepsOverAwait = async (): Promise<boolean> =>
  await context.with(marked, async () => { await Promise.resolve(); return context.active() === marked })

t.afterEach(() => { context.disable() })

t.test('a foreign context manager that loses context over await is refused', async (t) => {
  context.setGlobalContextManager(createStackManager())

  t.throws(registerContextManager, { message: /does not keep context/ })
  t.throws(registerContextManager, { message: /does not keep context/ }, 'each time')
  t.equal(await keepsOverAwait(), false)
})

t.test('a foreign one that keeps context is left in place', async (t) => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())

  registerContextManager()
  registerContextManager()

  t.equal(await keepsOverAwait(), true)
})
