import type { Migration } from 'kysely/migration'
import * as tables from './0001-tables.ts'
import * as rowLevelSecurity from './0002-row-level-security.ts'
import * as acceptAndClaim from './0003-accept-and-claim.ts'
import * as appendEvents from './0004-append-events.ts'
import * as epoch from './0005-epoch.ts'
import * as conversations from './0006-conversations.ts'
import * as messageTree from './0007-message-tree.ts'
import * as messageTreeAccept from './0007-message-tree-accept.ts'
import * as messageTreeEnd from './0007-message-tree-end.ts'
import * as threads from './0008-threads.ts'
import * as retention from './0009-retention.ts'
import * as queue from './0010-queue.ts'
import * as queueAccept from './0010-queue-accept.ts'
import * as queueSteps from './0010-queue-steps.ts'
import * as sharedState from './0010-shared-state.ts'
import * as runsInTheirThread from './0011-runs-in-their-thread.ts'
import * as branchToItsEnd from './0012-branch-to-its-end.ts'
import * as turnsAreTaken from './0013-turns-are-taken.ts'

/**
 * Every migration, by name, in the order of the names. Forward only: a released one is never changed, the next one corrects
 * it. A migration that changes rows has to lift `force row level security` of the table for its own duration.
 */
export const migrations: Readonly<Record<string, Migration>> = {
  '0001-tables': tables,
  '0002-row-level-security': rowLevelSecurity,
  '0003-accept-and-claim': acceptAndClaim,
  '0004-append-events': appendEvents,
  '0005-epoch': epoch,
  '0006-conversations': conversations,
  '0007-message-tree': messageTree,
  '0007-message-tree-accept': messageTreeAccept,
  '0007-message-tree-end': messageTreeEnd,
  '0008-threads': threads,
  '0009-retention': retention,
  '0010-queue': queue,
  '0010-queue-accept': queueAccept,
  '0010-queue-steps': queueSteps,
  '0010-shared-state': sharedState,
  '0011-runs-in-their-thread': runsInTheirThread,
  '0012-branch-to-its-end': branchToItsEnd,
  '0013-turns-are-taken': turnsAreTaken
}
