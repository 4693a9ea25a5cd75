import type { ClusterNode } from '../cluster.ts'
import type { FaultyNode } from './faulty-node.ts'

/** A process as a node that faults can happen to. */
export function processNode (node: ClusterNode): FaultyNode {
  return {
    name: node.name,
    get url () { return node.process.running && node.role !== 'worker' ? node.process.url : undefined },
    postgres: node.postgres,
    redis: node.redis,
    signals: undefined,
    async crash () { await node.process.end('SIGKILL') },
    async drain () { await node.process.end('SIGTERM') },
    async start () { await node.restart() },
    freeze: () => { node.process.freeze() },
    thaw: () => { node.process.thaw() }
  }
}
