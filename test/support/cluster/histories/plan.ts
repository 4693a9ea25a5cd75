import type { Role } from '../cluster.ts'
import { createRandom, type SeededRandom } from './seeded-random.ts'

/** What can happen to a node, or to the clients that it has. */
export type FaultKind =
  | 'crash' | 'drain' | 'freeze'
  | 'postgres-cut' | 'postgres-refused' | 'postgres-reset' | 'postgres-slow'
  | 'redis-cut' | 'redis-refused' | 'redis-reset'
  | 'signals-lost' | 'signals-doubled' | 'signals-late' | 'signals-reordered'
  | 'clients-dropped'

export interface PlannedFault {
  readonly kind: FaultKind
  /** By its number. */
  readonly node: number
  /** Since the fault before has begun. */
  readonly afterMs: number
  readonly forMs: number
}

/** One round: which nodes there are, what they share, and what happens to them. All of it follows from the seed. */
export interface Plan {
  readonly seed: number
  readonly processes: boolean
  readonly roles: readonly Role[]
  readonly redis: boolean
  readonly faults: readonly PlannedFault[]
}

const layouts: readonly (readonly Role[])[] = [
  ['gateway', 'gateway', 'worker', 'worker'], ['gateway', 'gateway', 'worker', 'worker'], ['all', 'all', 'all'], ['gateway', 'all', 'worker']
]
const everywhere: readonly FaultKind[] = ['crash', 'drain', 'postgres-cut', 'postgres-refused', 'postgres-reset', 'postgres-slow', 'clients-dropped']
const ofRedis: readonly FaultKind[] = ['redis-cut', 'redis-refused', 'redis-reset']
const ofSignals: readonly FaultKind[] = ['signals-lost', 'signals-doubled', 'signals-late', 'signals-reordered']

/** `processes`: the nodes are processes, which can be killed and stopped in earnest, and in whose signals nothing is changed. */
export function planRound (seed: number, { faults, processes = false }: { readonly faults: number, readonly processes?: boolean }): Plan {
  const random = createRandom(seed)
  const roles = random.pick(layouts)
  const redis = random.next() < 0.5
  const kinds = [...everywhere, ...(redis ? ofRedis : []), ...(processes ? ['freeze', 'freeze', 'freeze', 'crash'] as const : ofSignals)]
  return { seed, processes, roles, redis, faults: Array.from({ length: faults }, () => planFault(random, kinds, roles, processes)) }
}

function planFault (random: SeededRandom, kinds: readonly FaultKind[], roles: readonly Role[], processes: boolean): PlannedFault {
  const kind = random.pick(kinds)
  const any = random.between(0, roles.length - 1)
  // A worker has no clients that could be dropped.
  const node = kind === 'clients-dropped' && roles[any] === 'worker' ? random.pick(serving(roles)) : any
  // A process takes its time to start.
  const afterMs = processes ? random.between(100, 800) : random.between(20, 350)
  return { kind, node, afterMs, forMs: random.between(50, processes ? 3_000 : 1_500) }
}

const serving = (roles: readonly Role[]): readonly number[] => [...roles.keys()].filter((node) => roles[node] !== 'worker')

export function tellPlan ({ seed, processes, roles, redis, faults }: Plan): string {
  const told = faults.map(({ kind, node, afterMs, forMs }) => `+${afterMs} ${kind} ${node} ${forMs}`)
  return `seed ${seed}: ${processes ? 'processes ' : ''}${roles.join(' ')}${redis ? ' with Redis' : ''}: ${told.join(', ')}`
}
