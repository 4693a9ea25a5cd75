import type { EventBus, Signal, Topic } from '../../../../lib/events/event-bus.ts'
import type { SeededRandom } from './seeded-random.ts'

export type SignalFault = 'lost' | 'doubled' | 'late' | 'reordered'

/** What is done to the signals that a node sends. */
export interface FaultySignals {
  /** Until the function that it returns is called. */
  begin (fault: SignalFault): () => void
}

const lateMs = 400
const reorderedMs = 60

/** Puts itself before the bus of a node that was just made. */
export function makeSignalsFaulty (bus: EventBus, random: SeededRandom): FaultySignals {
  const active: SignalFault[] = []
  const publish = bus.publish.bind(bus)
  const later = (topic: Topic, signal: Signal, delayMs: number): void => { setTimeout(() => { publish(topic, signal) }, delayMs) }

  bus.publish = (topic, signal) => {
    const fault = active.at(-1)
    switch (fault) {
      case undefined: return publish(topic, signal)
      case 'lost': return random.next() < 0.7 ? undefined : publish(topic, signal)
      case 'doubled':
        publish(topic, signal)
        return later(topic, signal, random.between(0, reorderedMs))
      case 'late': return later(topic, signal, random.between(0, lateMs))
      case 'reordered': return later(topic, signal, random.between(0, reorderedMs))
    }
  }
  return {
    begin (fault) {
      active.push(fault)
      return () => { active.splice(active.indexOf(fault), 1) }
    }
  }
}
