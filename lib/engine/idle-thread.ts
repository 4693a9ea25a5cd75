import { setTimeout as delay } from 'node:timers/promises'
import { currentThread } from '../context/current-thread.ts'
import type { RunStore } from '../stores/run-store.ts'
import type { ThreadSessions } from './thread-sessions.ts'

export interface IdleOptions {
  readonly sessions: ThreadSessions
  readonly runs: Pick<RunStore, 'unfinished'>
  readonly hasPeers: boolean
}

const longestPauseMs = 200

/** Resolves when nothing runs in the active thread any more, on whatever node, or the signal is aborted. The other nodes are not asked, but the database. */
export async function awaitIdle (signal: AbortSignal, { sessions, runs, hasPeers }: IdleOptions): Promise<void> {
  const { threadId } = currentThread()
  await sessions.find()?.loop
  for (let pauseMs = 10; hasPeers && !signal.aborted; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    if ((await runs.unfinished(threadId)).every(({ status }) => status !== 'running')) return
    await delay(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}
