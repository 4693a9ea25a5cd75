import type { CloseReason } from '../protocol/close-codes.ts'
import type { ServerEvent } from '../protocol/events.ts'

/** What became of a frame: `dead` when the way out is not open any more, `overflow` when the client reads too slowly. */
export type Sent = 'sent' | 'dead' | 'overflow'

/**
 * The way out to one client: frames leave in the order of the calls. What the client has not read is bounded; the frame that passes the
 * bound closes the way with the slow-consumer reason, so that the client knows that it has to resume.
 */
export interface Outbox {
  /** Whether the client can be heard as well. The silence of one that cannot says nothing about it. */
  readonly duplex: boolean
  /** What was sent and is still in this process; absent where nothing is kept. */
  readonly unreadBytes?: number
  /** Whether the client has been sent all that there will be. */
  readonly isComplete?: boolean
  /** Resolves when the client is gone, whoever ended it. Never rejects. */
  readonly gone: Promise<void>
  /** The client has been told where it is: whatever was kept back until now leaves. Opening it again does nothing. */
  open (): void
  /** `frame` is the event as JSON, made once for all who receive it. */
  send (event: ServerEvent, frame: string): Sent
  /** Resolves when what was sent has left this process, or the client is gone. Never rejects. */
  drained (): Promise<void>
  /** Says goodbye; a client that does not answer is cut off after a time limit. */
  close (reason: CloseReason): void
  /** Keeps the way open, and asks a client that can be heard for a sign of life. */
  ping (): void
  /** Cuts the client off. */
  terminate (): void
}
