import fc from 'fast-check'
import type { MultitaskStrategy } from '../../../lib/protocol/commands.ts'
import { planSteps, type PlanStep } from './planned-agent.ts'

export const userCount = 3
export const tabCount = 3

/** From where a tab goes on: what it saw last, something before that, the beginning, or a position that there never was. */
export const positions = ['last', 'older', 'zero', 'beyond', 'other-epoch'] as const
export type Position = typeof positions[number]

interface ByTab { readonly user: number, readonly tab: number }
/** Without `wait`, the next action does not wait for the answer. */
interface Asking extends ByTab { readonly wait: boolean }

/**
 * What users do, as data: it can be printed and kept. Threads, messages and runs are counted from the first, round and round; `null` is
 * the thread of the connection, or all runs.
 */
export type Action =
  | ByTab & { readonly do: 'connect', readonly thread: number | null, readonly from: Position | null }
  | ByTab & { readonly do: 'drop' | 'leave' }
  | Asking & { readonly do: 'switch', readonly thread: number }
  | Asking & { readonly do: 'resume', readonly thread: number | null, readonly from: Position }
  | Asking & { readonly do: 'send', readonly thread: number | null, readonly strategy: MultitaskStrategy, readonly plan: readonly PlanStep[] }
  | Asking & { readonly do: 'edit', readonly message: number, readonly strategy: MultitaskStrategy, readonly plan: readonly PlanStep[] }
  | Asking & { readonly do: 'regenerate', readonly message: number, readonly strategy: MultitaskStrategy }
  | ByTab & { readonly do: 'select', readonly message: number }
  | ByTab & { readonly do: 'retry', readonly message: number, readonly changed: boolean }
  | Asking & { readonly do: 'stop', readonly thread: number | null, readonly run: number | null }
  | ByTab & { readonly do: 'create' }
  | ByTab & { readonly do: 'delete', readonly thread: number }
  | ByTab & { readonly do: 'restore', readonly thread: number }
  | ByTab & { readonly do: 'history', readonly thread: number }
  | ByTab & { readonly do: 'trespass', readonly victim: number, readonly thread: number, readonly way: number }
  | { readonly do: 'open', readonly user: number, readonly message: number }
  | { readonly do: 'finish', readonly user: number, readonly thread: number }

export type ActionOf<Name extends Action['do']> = Extract<Action, { readonly do: Name }>

const count = fc.nat(7)
const countOrNull = fc.option(count, { freq: 2 })
const byTab = { user: fc.nat(userCount - 1), tab: fc.nat(tabCount - 1) }
const asking = { ...byTab, wait: fc.boolean() }
const position: fc.Arbitrary<Position> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Position>('last') },
  { weight: 3, arbitrary: fc.constantFrom<Position>('older', 'zero') },
  { weight: 1, arbitrary: fc.constantFrom<Position>('beyond', 'other-epoch') }
)
const positionOrNull = fc.option(position, { freq: 3 })
const strategy: fc.Arbitrary<MultitaskStrategy> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<MultitaskStrategy>('enqueue') },
  { weight: 4, arbitrary: fc.constantFrom<MultitaskStrategy>('reject', 'interrupt', 'rollback') }
)
const step: fc.Arbitrary<PlanStep> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<PlanStep>('text') },
  { weight: 2, arbitrary: fc.constant<PlanStep>('gate') },
  { weight: 8, arbitrary: fc.constantFrom(...planSteps) }
)

const plan = fc.array(step, { maxLength: 7 })

const weighted: readonly fc.WeightedArbitrary<Action>[] = [
  { weight: 8, arbitrary: fc.record({ do: fc.constant('connect'), ...byTab, thread: countOrNull, from: positionOrNull }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('drop', 'leave'), ...byTab }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('switch'), ...asking, thread: count }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('resume'), ...asking, thread: countOrNull, from: position }) },
  { weight: 14, arbitrary: fc.record({ do: fc.constant('send'), ...asking, thread: countOrNull, strategy, plan }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('edit'), ...asking, message: count, strategy, plan }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('regenerate'), ...asking, message: count, strategy }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('select'), ...byTab, message: count }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('retry'), ...byTab, message: count, changed: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('stop'), ...asking, thread: countOrNull, run: countOrNull }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('create'), ...byTab }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('delete', 'restore', 'history'), ...byTab, thread: count }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('trespass'), ...byTab, victim: count, thread: count, way: count }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('open'), user: byTab.user, message: count }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('finish'), user: byTab.user, thread: count }) }
]

export const anyAction = (): fc.Arbitrary<Action> => fc.oneof(...weighted)
