import type { FastifyInstance } from 'fastify'
import type { Engine } from '../../lib/engine/engine.ts'
import type { EventLog } from '../../lib/events/event-log.ts'
import type { ConnectionRegistry } from '../../lib/gateway/connection-registry.ts'
import type { Gateway } from '../../lib/gateway/gateway.ts'
import type { ServiceNodes } from './service-nodes.ts'

type Instance = Pick<FastifyInstance, 'engine' | 'gateway' | 'eventLog' | 'websocketServer'>

/**
 * The service as one, for tests that ask it from inside: loads are summed over its nodes, connections are found on whichever gateway has them, and
 * anything else is asked of the first gateway. Where there is one process, it is that one.
 */
export function wholeService ({ gateways, workers }: Pick<ServiceNodes, 'gateways' | 'workers'>): FastifyInstance {
  const nodes = [...new Set([...gateways, ...workers])]
  const [first] = gateways
  if (first === undefined) throw new Error('A service needs a gateway')
  if (nodes.length === 1) return first
  return changed(first, {
    engine: { value: wholeEngine(first.engine, nodes) },
    gateway: { value: wholeGateway(first.gateway, gateways) },
    eventLog: { value: wholeLog(first.eventLog, nodes) },
    websocketServer: { value: changed(first.websocketServer, { clients: { get: () => new Set(gateways.flatMap((node) => [...node.websocketServer.clients])) } }) },
    close: { value: async () => { await Promise.all(nodes.map(async (node) => { await node.close() })) } }
  } satisfies Partial<Record<keyof Instance | 'close', PropertyDescriptor>>)
}

function wholeEngine (engine: Engine, nodes: readonly Instance[]): Engine {
  return copied(engine, {
    load: { get: () => summed(nodes.map((node) => node.engine.load)) }
  } satisfies Partial<Record<keyof Engine, PropertyDescriptor>>)
}

function wholeLog (log: EventLog, nodes: readonly Instance[]): EventLog {
  return copied(log, {
    followed: { get: () => nodes.reduce((sum, { eventLog }) => sum + eventLog.followed, 0) }
  } satisfies Partial<Record<keyof EventLog, PropertyDescriptor>>)
}

function wholeGateway (gateway: Gateway, nodes: readonly Instance[]): Gateway {
  const registry = wholeRegistry(gateway.registry, nodes.map((node) => node.gateway.registry))
  const onSent: Gateway['onSent'] = (listener) => {
    const ends = nodes.map((node) => node.gateway.onSent(listener))
    return () => { for (const end of ends) end() }
  }
  const deliver: Gateway['subscriptions']['deliver'] = (event) =>
    nodes.some((node) => node.gateway.subscriptions.deliver(event) === 'delivered') ? 'delivered' : 'queued'
  return copied(gateway, {
    registry: { value: registry },
    subscriptions: { value: changed(gateway.subscriptions, { deliver: { value: deliver } }) },
    onSent: { value: onSent },
    load: { get: () => summed(nodes.map((node) => node.gateway.load)) },
    drain: { value: async () => { await Promise.all(nodes.map(async (node) => { await node.gateway.drain() })) } }
  } satisfies Partial<Record<keyof Gateway, PropertyDescriptor>>)
}

function wholeRegistry (first: ConnectionRegistry, registries: readonly ConnectionRegistry[]): ConnectionRegistry {
  const found = <T>(ask: (registry: ConnectionRegistry) => T | undefined): T | undefined => {
    for (const registry of registries) {
      const answer = ask(registry)
      if (answer !== undefined && answer !== false) return answer
    }
    return ask(first)
  }
  const all = <T>(ask: (registry: ConnectionRegistry) => Iterable<T>): Set<T> => new Set(registries.flatMap((registry) => [...ask(registry)]))
  const methods = {
    connect: (...call) => first.connect(...call),
    requireRoom: () => { first.requireRoom() },
    disconnect: (id) => found((registry) => registry.disconnect(id)) ?? false,
    getConnectionInfo: (id) => found((registry) => registry.getConnectionInfo(id)),
    getConnectionThreadId: (id) => found((registry) => registry.getConnectionThreadId(id)),
    updateConnectionThread: (id, thread) => found((registry) => registry.updateConnectionThread(id, thread)) ?? false,
    getUserConnectionsByThread: (thread) => all((registry) => registry.getUserConnectionsByThread(thread)),
    getUserConnections: () => all((registry) => registry.getUserConnections()),
    forEach: (visit) => { for (const registry of registries) registry.forEach(visit) }
  } satisfies Omit<ConnectionRegistry, 'size' | 'users'>
  return changed(first, {
    ...Object.getOwnPropertyDescriptors(methods),
    size: { get: () => registries.reduce((sum, { size }) => sum + size, 0) },
    users: { get: () => registries.reduce((sum, { users }) => sum + users, 0) }
  })
}

function summed<Name extends string> (loads: readonly Readonly<Record<Name, number>>[]): Record<Name, number> {
  const names = Object.keys(loads[0] ?? {}) as Name[] // a load has its names and no others
  return Object.fromEntries(names.map((name) => [name, loads.reduce((sum, load) => sum + load[name], 0)])) as Record<Name, number>
}

/** Another object that is as the first one in everything else. */
function changed<T extends object> (object: T, properties: PropertyDescriptorMap): T {
  return Object.create(object, properties) as T // it has what it inherits
}

/** The same with properties of its own, so that it can be spread. */
function copied<T extends object> (object: T, properties: PropertyDescriptorMap): T {
  const own = Object.entries(properties).map(([name, property]) => [name, { ...property, enumerable: true }])
  return Object.create(null, { ...Object.getOwnPropertyDescriptors(object), ...Object.fromEntries(own) as PropertyDescriptorMap }) as T
}
