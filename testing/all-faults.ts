import type { Fault } from './fault.ts'
import { enterWithInHelper } from './faults/enter-with.ts'
import { firstComersTimer } from './faults/first-comers-timer.ts'
import { firstUsersLoop } from './faults/first-users-loop.ts'
import { foreignConsumer } from './faults/foreign-consumer.ts'
import { lostBeforeHandler } from './faults/lost-before-handler.ts'
import { publisherContext } from './faults/publisher-context.ts'
import { sharedFlight } from './faults/shared-flight.ts'
import { wrongWaiter } from './faults/wrong-waiter.ts'

/** Every fault of the kit, each with a name of its own. */
export const allFaults: readonly Fault[] = [
  lostBeforeHandler,
  publisherContext,
  foreignConsumer,
  sharedFlight,
  wrongWaiter,
  firstUsersLoop,
  firstComersTimer,
  enterWithInHelper
]
