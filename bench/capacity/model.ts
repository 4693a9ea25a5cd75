/** What the users do, of one deployment. */
export interface Workload {
  /** Sockets that are open at the same time, each in one thread. */
  readonly connections: number
  /** Messages that a connection's user sends in an hour. */
  readonly messagesPerHour: number
  /** Events that a run tells, pieces of text included. */
  readonly eventsPerRun: number
  /** Of one event, as it is stored and sent. */
  readonly eventBytes: number
  /** From the claim of a run to its end; most of it is waiting for models and tools. */
  readonly runSeconds: number
  /** Connections that are in a thread at the same time. */
  readonly followersPerThread: number
}

/** What each part costs. Seconds are CPU of the process that does it; each process has one core. */
export interface Costs {
  /** Of a gateway, for a frame that is received and accepted. */
  readonly acceptSeconds: number
  /** Of a gateway, for an event written to one socket. */
  readonly deliverSeconds: number
  /** Of a gateway, for a connection in one second: heartbeats. */
  readonly idleSeconds: number
  /** Of a gateway, for a thread's signal that came over Redis, and for a notification of Postgres, which comes to every node. */
  readonly signalSeconds: number
  readonly notifySeconds: number
  /** Of a gateway, in memory. */
  readonly connectionBytes: number
  /** Of a worker, for a run and for each of its events. */
  readonly runSeconds: number
  readonly eventSeconds: number
  /** Of a worker, in memory, while a run goes on. */
  readonly runBytes: number
  /** Of a Postgres server: messages (accepted, claimed, ended) and events in groups, each in a second when it does nothing else. */
  readonly postgresMessages: number
  readonly postgresEvents: number
  /** Kept by it for each event beside the event's own bytes, and for each message. */
  readonly storedEventBytes: number
  readonly storedMessageBytes: number
  /** Of a Redis shard: signals published in a second, and memory for a followed thread. */
  readonly redisSignals: number
  readonly redisTopicBytes: number
}

/** How far parts are to be used, and how much memory a process may have. */
export interface Bounds {
  readonly utilisation: number
  readonly processBytes: number
}

export const bounds: Bounds = { utilisation: 0.6, processBytes: 2 * 1024 ** 3 }

export type Bus = 'postgres' | 'redis'

/** What happens in a second. */
export interface Rates {
  readonly messages: number
  readonly events: number
  readonly deliveries: number
  /** Signals: events are told in groups, so there are fewer than events. */
  readonly signals: number
  readonly activeRuns: number
  readonly followedThreads: number
}

/** How many of each are needed, and what they hold. A part that is divided into shards is divided by thread. */
export interface Plan {
  readonly rates: Rates
  readonly gateways: number
  readonly workers: number
  readonly postgresShards: number
  readonly redisShards: number
  readonly postgresBytesPerDay: number
  readonly redisBytes: number
  /** The part that is full first when there is one of each, and the number of connections at which it is. */
  readonly first: Limit
}

export interface Limit {
  readonly part: Part
  readonly connections: number
}

export const parts = ['gateway cpu', 'gateway memory', 'notifications', 'worker cpu', 'worker memory', 'postgres', 'redis'] as const satisfies readonly string[]
export type Part = typeof parts[number]

export function ratesOf ({ connections, messagesPerHour, eventsPerRun, runSeconds, followersPerThread }: Workload): Rates {
  const messages = connections * messagesPerHour / 3_600
  const events = messages * eventsPerRun
  return {
    messages,
    events,
    deliveries: events * followersPerThread,
    signals: events,
    activeRuns: messages * runSeconds,
    followedThreads: connections / followersPerThread
  }
}

/**
 * How much of one of each is used, as a share of what it can do: 1 is full. Everything is proportional to the connections, but for the
 * notifications, of which each gateway gets those of all threads, however many gateways there are.
 */
export function usageOf (workload: Workload, costs: Costs, bus: Bus, { processBytes }: Bounds = bounds): Readonly<Record<Part, number>> {
  const { messages, events, deliveries, signals, activeRuns, followedThreads } = ratesOf(workload)
  const signalling = bus === 'redis' ? signals * costs.signalSeconds : 0
  return {
    'gateway cpu': messages * costs.acceptSeconds + deliveries * costs.deliverSeconds + workload.connections * costs.idleSeconds + signalling,
    'gateway memory': workload.connections * costs.connectionBytes / processBytes,
    notifications: bus === 'postgres' ? signals * costs.notifySeconds : 0,
    'worker cpu': messages * costs.runSeconds + events * costs.eventSeconds,
    'worker memory': activeRuns * costs.runBytes / processBytes,
    postgres: messages / costs.postgresMessages + events / costs.postgresEvents,
    redis: bus === 'redis' ? Math.max(signals / costs.redisSignals, followedThreads * costs.redisTopicBytes / processBytes) : 0
  }
}

export function planFor (workload: Workload, costs: Costs, bus: Bus, limits: Bounds = bounds): Plan {
  const usage = usageOf(workload, costs, bus, limits)
  const { events, messages, followedThreads } = ratesOf(workload)
  const count = (...shares: readonly number[]): number => Math.max(1, Math.ceil(Math.max(...shares) / limits.utilisation))
  return {
    rates: ratesOf(workload),
    gateways: count(usage['gateway cpu'], usage['gateway memory']),
    workers: count(usage['worker cpu'], usage['worker memory']),
    // A notification costs every node of its database, so too many of them ask for more databases, not for more nodes.
    postgresShards: count(usage.postgres, usage.notifications),
    redisShards: bus === 'redis' ? count(usage.redis) : 0,
    postgresBytesPerDay: 86_400 * (events * (workload.eventBytes + costs.storedEventBytes) + messages * costs.storedMessageBytes),
    redisBytes: bus === 'redis' ? followedThreads * costs.redisTopicBytes : 0,
    first: firstLimit(workload, costs, bus, limits)
  }
}

/** With one of each. */
export function firstLimit (workload: Workload, costs: Costs, bus: Bus, limits: Bounds = bounds): Limit {
  const [first] = limitsOf(workload, costs, bus, parts, limits)
  return first
}

/** At how many connections each part is full, with one of each; the part that is full first is first. */
export function limitsOf (
  workload: Workload, costs: Costs, bus: Bus, among: readonly [Part, ...Part[]], limits: Bounds = bounds
): readonly [Limit, ...Limit[]] {
  const usage = usageOf(workload, costs, bus, limits)
  const [first, ...others] = among.map((part) => ({ part, connections: Math.floor(workload.connections / usage[part]) }))
    .toSorted((one, other) => one.connections - other.connections)
  if (first === undefined) throw new RangeError('There are no parts')
  return [first, ...others]
}
