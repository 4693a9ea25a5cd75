import type { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** What a server and its process hold at a moment, by name. */
export type LiveState = Readonly<Record<string, number>>

/** What must be nothing when everybody has left. */
export function readLoad (app: FastifyInstance): LiveState {
  const { connections, users, followedThreads, windows } = app.gateway.load
  const { sessions, runs, slotsTaken, waiting } = app.engine.load
  return {
    'connections in the registry': connections,
    'users in the registry': users,
    'subscriptions of threads': followedThreads,
    'message windows': windows,
    'open web sockets': app.websocketServer.clients.size,
    'threads followed in the log': app.eventLog.followed,
    'engine sessions': sessions,
    'runs in the registry': runs,
    'engine slots taken': slotsTaken,
    'runs that wait for a slot': waiting,
    'active timers': countResources()['Timeout'] ?? 0
  }
}

/**
 * What must not be more than before anybody came: listeners, and whatever keeps the process alive. It may be less, since Node stops to
 * count a channel to a child process once a message had to wait in it.
 */
export function readHoldings (app: FastifyInstance): LiveState {
  const resources = Object.entries(countResources()).map(([type, count]) => [`active ${type}`, count] as const)
  return {
    'listeners of the process': countListeners(process),
    'listeners of the HTTP server': countListeners(app.server),
    'listeners of the socket server': countListeners(app.websocketServer),
    ...Object.fromEntries(resources.filter(([type]) => type !== 'active Timeout'))
  }
}

/** Waits until nobody is served any more and, if given, no more is held than then; or until `timeoutMs` have passed. */
export async function settle (app: FastifyInstance, timeoutMs: number, before?: LiveState): Promise<void> {
  const until = performance.now() + timeoutMs
  while (!isSettled(app, before) && performance.now() < until) await delay(50)
}

function isSettled (app: FastifyInstance, before: LiveState | undefined): boolean {
  if (Object.values(readLoad(app)).some((count) => count > 0)) return false
  return before === undefined || Object.entries(readHoldings(app)).every(([name, count]) => count <= (before[name] ?? 0))
}

function countResources (): LiveState {
  const types = Object.entries(Object.groupBy(process.getActiveResourcesInfo(), (type) => type))
  return Object.fromEntries(types.map(([type, found]) => [type, found?.length ?? 0]))
}

function countListeners (emitter: EventEmitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
}
