import { randomBytes } from 'node:crypto'
import type { ServerEvent } from '../lib/protocol/events.ts'
import type { StageUser } from './stage-user.ts'

/** A tab with the text that nobody outside of its thread may ever see. */
export interface Marked { readonly user: StageUser, readonly marker: string }

/** A text that occurs nowhere else. */
export function newMarker (userId: string): string {
  return `${userId}-${randomBytes(8).toString('hex')}`
}

/**
 * Everything that a tab was sent, or can read in its thread, and that is another user's or another thread's: a sentence each, none when all
 * is right. Waits for what is still on its way. Tabs of one thread have one marker.
 */
export async function findStray (url: string, tabs: readonly Marked[]): Promise<readonly string[]> {
  const found = await Promise.all(tabs.map(async ({ user, marker }) => {
    await user.settled().catch(() => undefined) // one that was cut off has what it has
    const foreign = tabs.filter((other) => other.marker !== marker)
    const sent = user.received.flatMap((event) => [...wrongAddress(event, user), ...wrongText(`${event.type}`, JSON.stringify(event), user, foreign)])
    const stored = JSON.stringify(await readMessages(url, user))
    return [...sent, ...wrongText('the messages of its thread', stored, user, foreign)]
  }))
  return found.flat()
}

function wrongAddress (event: ServerEvent, { userId, threadId }: StageUser): readonly string[] {
  if (event.user_id !== userId) return [`${userId} was sent ${event.type} of ${event.user_id}`]
  if (event.sequence !== undefined && event.thread_id !== threadId) return [`${userId} was sent ${event.type} of another thread`]
  return []
}

function wrongText (where: string, text: string, { userId }: StageUser, foreign: readonly Marked[]): readonly string[] {
  return foreign
    .filter(({ marker }) => text.includes(marker))
    .map(({ user }) => `${userId} found in ${where} what only ${user.userId} may see${user.userId === userId ? ', in another thread' : ''}`)
}

const limitMs = 20_000

async function readMessages (url: string, { threadId, token }: StageUser): Promise<unknown> {
  const response = await fetch(`${url}/v1/threads/${threadId}/messages`, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(limitMs) })
  return await response.json()
}
