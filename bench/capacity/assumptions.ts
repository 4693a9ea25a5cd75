import type { Costs, Workload } from './model.ts'

/**
 * What one core and one server can do, rounded: of the order that `bench:context`, `bench:resume`, `bench:cluster` and `soak` measured on the machine of
 * `docs/scaling.md`, where all parts shared two cores. They are assumptions of the model: put your own figures here. Another machine has other figures and the same shape.
 */
export const assumedCosts: Costs = {
  acceptSeconds: 900e-6,
  deliverSeconds: 30e-6,
  idleSeconds: 1e-6,
  signalSeconds: 60e-6,
  notifySeconds: 15e-6,
  connectionBytes: 25_000,
  runSeconds: 2_000e-6,
  eventSeconds: 120e-6,
  runBytes: 60_000,
  postgresMessages: 1_500,
  postgresEvents: 8_000,
  storedEventBytes: 250,
  storedMessageBytes: 2_500,
  redisSignals: 40_000,
  redisTopicBytes: 400
}

/** A chat in which people read and think between their messages, and answers come as about forty pieces. */
export const chat: Workload = {
  connections: 1_000, messagesPerHour: 6, eventsPerRun: 45, eventBytes: 450, runSeconds: 8, followersPerThread: 1.2
}

/** Kinds of use that differ in what is full first. */
export const workloads: Readonly<Record<string, Workload>> = {
  chat,
  'busy teams: five in each thread': { ...chat, messagesPerHour: 20, followersPerThread: 5 },
  'long answers, each word an event': { ...chat, eventsPerRun: 400, runSeconds: 40 },
  'short commands, no text': { ...chat, messagesPerHour: 60, eventsPerRun: 5, runSeconds: 1 },
  'many tabs, few messages': { ...chat, messagesPerHour: 1 }
}
