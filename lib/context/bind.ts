import { AsyncLocalStorage } from 'node:async_hooks'
import { context } from '@opentelemetry/api'

/**
 * `fn`, tied to the context that is active now. For what is called by somebody else: a listener of an emitter, a callback
 * kept in a pool, a timer that another request may have armed.
 */
export function bindThread<Arguments extends unknown[], Result> (
  fn: (...args: Arguments) => Result
): (...args: Arguments) => Result {
  const bound = context.active()
  return (...args) => context.with(bound, fn, undefined, ...args)
}

/**
 * The same items, each produced in the context that is active now. Needed because the body of an async generator runs in the
 * context of whoever calls `next()`, which at a consumer across a boundary is another's.
 */
export function bindIterable<T> (iterable: AsyncIterable<T>): AsyncIterable<T> {
  // `context.with` would leave the consumer in whatever the body enters, where both are in one context.
  const inside = AsyncLocalStorage.snapshot()
  return {
    [Symbol.asyncIterator] () {
      const iterator = inside(() => iterable[Symbol.asyncIterator]())
      return {
        next: async () => await inside(() => iterator.next()),
        return: async (value?: unknown) => iterator.return === undefined
          ? { done: true, value }
          : await inside(() => iterator.return?.(value)) ?? { done: true, value },
        throw: async (error?: unknown) => {
          if (iterator.throw === undefined) throw error
          return await inside(() => iterator.throw?.(error)) ?? { done: true, value: undefined }
        }
      }
    }
  }
}
