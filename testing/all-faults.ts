import type { Fault } from './fault.ts'
import { clientBaggage } from './faults/client-baggage.ts'
import { enterWithInHelper } from './faults/enter-with.ts'
import { firstComersTimer } from './faults/first-comers-timer.ts'
import { firstUsersLoop } from './faults/first-users-loop.ts'
import { foreignConsumer } from './faults/foreign-consumer.ts'
import { foreignResume } from './faults/foreign-resume.ts'
import { forgedCarrier } from './faults/forged-carrier.ts'
import { lostBeforeHandler } from './faults/lost-before-handler.ts'
import { lostCarrier } from './faults/lost-carrier.ts'
import { mutatedIdentity } from './faults/mutated-identity.ts'
import { publisherContext } from './faults/publisher-context.ts'
import { secondCopy } from './faults/second-copy.ts'
import { sharedFlight } from './faults/shared-flight.ts'
import { wrongChannel } from './faults/wrong-channel.ts'
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
  enterWithInHelper,
  secondCopy,
  mutatedIdentity,
  lostCarrier,
  forgedCarrier,
  wrongChannel,
  foreignResume,
  clientBaggage
]
