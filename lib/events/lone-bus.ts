import type { EventBus } from './event-bus.ts'

/** For a node that has no others: nothing leaves it, nothing comes, and nothing is lost. */
export function createLoneBus (node: string): EventBus {
  return {
    node,
    publish () {},
    subscribe: () => () => {},
    doubtful: false,
    onDoubt: () => () => {},
    subscribed: 0,
    async close () {}
  }
}
