import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { EventBus } from '../events/event-bus.ts'

const topic = { kind: 'work' } as const

/** Tells the other nodes that a run waits for whoever has room. Should the message be lost, they find it when they next look. */
export function tellWork (bus: Pick<EventBus, 'publish'>): void {
  context.with(ROOT_CONTEXT, () => { bus.publish(topic, { kind: 'message', name: 'work', body: {} }) })
}

/** Calls `look` whenever another node says that a run waits. Returns what ends that. */
export function hearWork (bus: Pick<EventBus, 'subscribe'>, look: () => void): () => void {
  return context.with(ROOT_CONTEXT, () => bus.subscribe(topic, look))
}
