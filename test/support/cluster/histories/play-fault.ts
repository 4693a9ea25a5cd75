import { setTimeout as sleep } from 'node:timers/promises'
import type { ClusterClient } from '../cluster-client.ts'
import type { FaultyNode } from './faulty-node.ts'
import type { FaultKind, PlannedFault } from './plan.ts'

/** A fault that has begun, until it is undone. */
type Undo = () => Promise<void> | void

const slowMs = 25

/** Lets a fault happen to a node, and undoes it when its time is over. Resolves when everything is as before. */
export async function playFault (node: FaultyNode, { kind, forMs }: PlannedFault, clients: readonly ClusterClient[]): Promise<void> {
  const undo = await begin(kind, node, clients)
  await sleep(forMs)
  await undo()
}

async function begin (kind: FaultKind, node: FaultyNode, clients: readonly ClusterClient[]): Promise<Undo> {
  const { postgres } = node
  switch (kind) {
    case 'crash':
      await node.crash()
      return async () => { await node.start() }
    case 'drain':
      await node.drain()
      return async () => { await node.start() }
    case 'freeze':
      there(node.freeze)()
      return () => { node.thaw?.() }
    case 'postgres-cut':
      postgres.cut()
      return () => { postgres.heal() }
    case 'postgres-refused':
      postgres.refuse()
      return () => { postgres.heal() }
    case 'postgres-reset':
      postgres.reset()
      return () => {}
    case 'postgres-slow':
      postgres.delay(slowMs)
      return () => { postgres.heal() }
    case 'redis-cut':
      there(node.redis).cut()
      return () => { node.redis?.heal() }
    case 'redis-refused':
      there(node.redis).refuse()
      return () => { node.redis?.heal() }
    case 'redis-reset':
      there(node.redis).reset()
      return () => {}
    case 'signals-lost': return there(node.signals).begin('lost')
    case 'signals-doubled': return there(node.signals).begin('doubled')
    case 'signals-late': return there(node.signals).begin('late')
    case 'signals-reordered': return there(node.signals).begin('reordered')
    case 'clients-dropped':
      for (const client of clients) if (client.node === node.name) client.drop()
      return () => {}
  }
}

/** A fault that cannot happen must not count as one that did. */
function there<T> (part: T | undefined): T {
  if (part === undefined) throw new Error('A fault was planned for something that the node does not have')
  return part
}
