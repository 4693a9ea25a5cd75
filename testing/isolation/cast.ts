import { isRunEventType, type ServerEvent } from '../../lib/protocol/events.ts'
import { findStray, newMarker } from '../markers.ts'
import type { StageUser } from '../stage-user.ts'
import type { Stage } from '../stage.ts'

/** One thread of a user, shown in two tabs, with the text that belongs to it alone. */
export interface Member {
  readonly userId: string
  readonly threadId: string
  readonly marker: string
  readonly tab: StageUser
  readonly secondTab: StageUser
}

/** Each user with two threads, and each thread in two tabs. */
export async function gatherCast (stage: Stage, users: number): Promise<readonly Member[]> {
  const userIds = Array.from({ length: users }, (_user, index) => newMarker(`user${index + 1}`))
  return await Promise.all([...userIds, ...userIds].map(async (userId) => {
    const tab = await stage.enter(userId)
    const secondTab = await stage.enter(userId, { threadId: tab.threadId })
    return { userId, threadId: tab.threadId, marker: newMarker('words'), tab, secondTab }
  }))
}

/** What members were told, or can read, and that is another's; a sentence each. */
export async function findCrossed (stage: Stage, cast: readonly Member[]): Promise<readonly string[]> {
  const tabs = cast.flatMap(({ tab, secondTab, marker }) => [{ user: tab, marker }, { user: secondTab, marker }])
  const stray = await findStray(stage.url, tabs)
  return [...stray, ...cast.flatMap((member) => [...namesOthers(member, cast), ...tabsDiffer(member)])]
}

/** An id of somebody else in what was told of a run is as wrong as its words. */
function namesOthers (member: Member, cast: readonly Member[]): readonly string[] {
  const told = member.tab.received.filter(({ type }) => isRunEventType(type))
  return cast.filter(({ threadId }) => threadId !== member.threadId).flatMap((other) => {
    const foreign = other.userId === member.userId ? [other.threadId] : [other.threadId, other.userId]
    return told
      .filter(({ payload }) => foreign.some((id) => JSON.stringify(payload).includes(id)))
      .map(({ type }) => `${member.userId} was told in ${type} of ${other.userId === member.userId ? 'another thread' : other.userId}`)
  })
}

function tabsDiffer ({ userId, tab, secondTab }: Member): readonly string[] {
  return JSON.stringify(tab.received.filter(isOfRun)) === JSON.stringify(secondTab.received.filter(isOfRun))
    ? []
    : [`Two tabs of ${userId} in one thread were told different things`]
}

function isOfRun ({ type }: ServerEvent): boolean { return isRunEventType(type) }
