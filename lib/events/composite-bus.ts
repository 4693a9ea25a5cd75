import type { EventBus } from './event-bus.ts'

/**
 * A fast bus and a steady one. What is told goes by the fast one while that is proven here, and else by the steady one; both are listened to, because other
 * nodes may have lost the fast one, or have it back. While it is in doubt here signals may be lost, since nodes that still have it tell nothing by the
 * steady one; so the composite is in doubt then.
 */
export function createCompositeBus ({ fast, steady }: { readonly fast: EventBus, readonly steady: EventBus }): EventBus {
  return {
    node: steady.node,
    publish (topic, signal) {
      if (fast.doubtful) steady.publish(topic, signal)
      else fast.publish(topic, signal)
    },
    subscribe (topic, receive) {
      const leave = [fast.subscribe(topic, receive), steady.subscribe(topic, receive)]
      return () => { for (const one of leave) one() }
    },
    get doubtful () { return fast.doubtful },
    onDoubt (listener) {
      const stop = [fast.onDoubt(listener), steady.onDoubt(listener)]
      return () => { for (const one of stop) one() }
    },
    get subscribed () { return steady.subscribed },
    async close () { await Promise.all([fast.close(), steady.close()]) }
  }
}
