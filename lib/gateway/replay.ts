import { setTimeout as delay } from 'node:timers/promises'
import { ThreadlineError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import { enterEvent } from '../events/stored-event-log.ts'
import type { ThreadEvent } from '../protocol/events.ts'
import type { Connection, Hold } from './connection.ts'

/** Sequences of the active thread: those after `after`, up to `upTo`. */
export interface ReplayRange { readonly after: number, readonly upTo: number }

export interface ReplayOptions {
  readonly connection: Connection
  /** Keeps live events back; when it is lost, somebody else tells the thread, or nobody is to. */
  readonly hold: Hold
  readonly log: EventLog
  /** Sends an event, and gives the bytes of its frame; 0 when it was not sent. */
  readonly send: (event: ThreadEvent) => number
  /** What is written before the client is waited for. */
  readonly chunkBytes: number
  readonly timeoutMs: number
}

/**
 * `complete`: all of the range was sent. `expired`: the rest is not kept any more. `stopped`: the connection is gone or being closed, or
 * has left the thread.
 */
export interface Replayed { readonly sent: number, readonly outcome: 'complete' | 'expired' | 'stopped' }

const pageSize = 256

/**
 * Reads stored events of the active thread and sends them in order, each in the name and the trace of the run that told it. A client
 * that takes them slowly is waited for, so that a long absence does not overflow its outbox; one that takes nothing is closed as a slow
 * consumer. Rejects when the log does.
 */
export async function replay ({ after, upTo }: ReplayRange, options: ReplayOptions): Promise<Replayed> {
  const { connection, hold, log, chunkBytes } = options
  const isWanted = (): boolean => connection.active && connection.holds(hold)
  let sent = 0
  let waitingBytes = 0
  while (after + sent < upTo) {
    const page = await log.read(hold.threadId, after + sent, Math.min(pageSize, upTo - after - sent))
    if (page === 'expired') return { sent, outcome: 'expired' }
    if (page.length === 0) throw new ThreadlineError('THREADLINE_INTERNAL', 'The log has a gap')
    for (const event of page) {
      if (!isWanted()) return { sent, outcome: 'stopped' }
      const bytes = enterEvent(event, () => options.send(event))
      if (bytes === 0) {
        if (connection.active) connection.close('internal') // it was refused at the last step: the rest would follow a gap
        return { sent, outcome: 'stopped' }
      }
      sent += 1
      waitingBytes += bytes
      if (waitingBytes < chunkBytes) continue
      waitingBytes = 0
      await drained(options)
    }
    if (after + sent < upTo) await drained(options)
  }
  return { sent, outcome: isWanted() ? 'complete' : 'stopped' }
}

/** The timer does not outlive the wait. */
async function drained ({ connection, timeoutMs }: ReplayOptions): Promise<void> {
  const controller = new AbortController()
  const late = delay(timeoutMs, true, { signal: controller.signal }).catch(() => false)
  if (await Promise.race([connection.drained().then(() => false), late])) connection.close('slowConsumer')
  controller.abort()
}
