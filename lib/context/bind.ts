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
  const bound = context.active()
  return {
    [Symbol.asyncIterator] () {
      const iterator = context.with(bound, () => iterable[Symbol.asyncIterator]())
      return {
        next: async () => await context.with(bound, () => iterator.next()),
        return: async (value?: unknown) => iterator.return === undefined
          ? { done: true, value }
          : await context.with(bound, () => iterator.return?.(value)) ?? { done: true, value },
        throw: async (error?: unknown) => {
          if (iterator.throw === undefined) throw error
          return await context.with(bound, () => iterator.throw?.(error)) ?? { done: true, value: undefined }
        }
      }
    }
  }
}
