/** What a metric is called and counts; `boundaries` are the upper bounds of a histogram's buckets, in its unit. */
export interface MetricDefinition {
  readonly name: string
  /** UCUM, as the semantic conventions write it. */
  readonly unit: string
  readonly description: string
  readonly boundaries?: readonly number[]
}

/** In seconds: from what no user notices to what nobody waits for. */
const delays = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
/** As the GenAI conventions give them for calls of models and tools, in seconds. */
const calls = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
/** The same for agents. */
const invocations = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6]
/** The same for tokens: powers of four. */
const tokens = Array.from({ length: 14 }, (_bound, power) => 4 ** power)

/**
 * Every metric of the product but those of the canaries. Names, units and boundaries of `gen_ai.*` are those of the GenAI semantic conventions, which are still in
 * development; `threadline.*` are ours. Values of labels are words of the code or the configuration (types, codes, reasons, names of agents,
 * tools and models), never an id of anybody or anything.
 */
export const metricDefinitions = {
  connections: { name: 'threadline.connection.count', unit: '{connection}', description: 'Connections that are open' },
  closedConnections: { name: 'threadline.connection.closed', unit: '{connection}', description: 'Connections that have ended, by why' },
  users: { name: 'threadline.user.count', unit: '{user}', description: 'Users with an open connection' },
  followedThreads: { name: 'threadline.thread.followed', unit: '{thread}', description: 'Threads that somebody is connected to' },
  unreadBytes: { name: 'threadline.outbox.unread', unit: 'By', description: 'What was sent to clients and has not left this process' },
  commands: { name: 'threadline.command.received', unit: '{command}', description: 'Commands and requests of clients, by what became of them' },

  activeRuns: { name: 'threadline.run.active', unit: '{run}', description: 'Runs that this process executes, with or without a slot' },
  waitingRuns: { name: 'threadline.run.waiting', unit: '{run}', description: 'Runs that wait for a slot' },
  slotsTaken: { name: 'threadline.run.slot.usage', unit: '{slot}', description: 'Slots that are taken' },
  slotLimit: { name: 'threadline.run.slot.limit', unit: '{slot}', description: 'Slots that there are' },
  queueDepth: { name: 'threadline.queue.depth', unit: '{run}', description: 'Runs of all nodes that wait in the queue, and that are executed' },
  startedRuns: { name: 'threadline.run.started', unit: '{run}', description: 'Runs that have begun to work' },
  endedRuns: { name: 'threadline.run.ended', unit: '{run}', description: 'Runs whose end is stored, by how they ended' },
  runDuration: {
    name: 'threadline.run.duration', unit: 's', description: 'From the claim of a run to its stored end', boundaries: invocations
  },
  queueDelay: {
    name: 'threadline.run.queue_delay', unit: 's', description: 'From the acceptance of a run to its slot', boundaries: delays
  },

  appendedEvents: { name: 'threadline.event.appended', unit: '{event}', description: 'Events that were stored' },
  waitingEvents: { name: 'threadline.event.waiting', unit: '{event}', description: 'Events that wait to be stored' },
  deliveryDelay: {
    name: 'threadline.event.delivery_delay', unit: 's', description: 'From the timestamp of an event to its writing to a connection', boundaries: delays
  },
  ready: { name: 'threadline.ready', unit: '1', description: '1 while messages can be stored, else 0' },

  violations: {
    name: 'threadline.context.violations',
    unit: '{violation}',
    description: 'Accesses refused because the resource belonged to another identity than the active one, and spans that did not inherit theirs'
  },
  refusedSignatures: {
    name: 'threadline.signature.refused', unit: '{signature}', description: 'Runs of the queue and messages of the bus that were not what a node of ours had signed, by why'
  },
  takenOverRuns: { name: 'threadline.run.taken_over', unit: '{run}', description: 'Runs that were continued from where another process had left them' },
  lostLeases: { name: 'threadline.run.lease_lost', unit: '{run}', description: 'Runs that this process had to give up, because another one has them' },
  busMessages: { name: 'threadline.bus.message', unit: '{message}', description: 'Messages between nodes, by bus, direction and what became of them' },
  busDoubtful: { name: 'threadline.bus.doubtful', unit: '1', description: '1 while hints may be lost and the log is asked often instead, else 0' },
  polledEvents: { name: 'threadline.event.polled', unit: '{event}', description: 'Events that no hint had told of, and that were found by asking' },
  droppedSpans: { name: 'threadline.telemetry.spans_dropped', unit: '{span}', description: 'Spans that were lost before they were exported' },

  tokenUsage: { name: 'gen_ai.client.token.usage', unit: '{token}', description: 'Number of input and output tokens used.', boundaries: tokens },
  modelDuration: { name: 'gen_ai.client.operation.duration', unit: 's', description: 'GenAI operation duration.', boundaries: calls },
  agentDuration: {
    name: 'gen_ai.invoke_agent.duration', unit: 's', description: 'The end-to-end duration of a single agent invocation.', boundaries: invocations
  },
  toolDuration: { name: 'gen_ai.execute_tool.duration', unit: 's', description: 'The duration of a single tool execution.', boundaries: calls }
} as const satisfies Readonly<Record<string, MetricDefinition>>
