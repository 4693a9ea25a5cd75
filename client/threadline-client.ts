import type { CommandType } from '../lib/protocol/commands.ts'
import type { AnswerTo, CommandToSend } from './answers.ts'
import type { ThreadlineClientError } from './client-error.ts'
import type { Clock } from './clock.ts'
import type { EventIterator, EventsOptions } from './event-feed.ts'
import type { ReconnectPolicy } from './reconnect-policy.ts'
import type { SocketConstructor } from './socket.ts'
import type { ThreadlineEvent } from './threadline-event.ts'

/** A token for the life of the client, or a way to get a fresh one, which is asked before each attempt to connect. */
export type Credentials =
  | { readonly token: string, readonly getToken?: never }
  | { readonly token?: never, readonly getToken: (signal: AbortSignal) => Promise<string> }

/** What becomes of the connection, for a line of status. */
export type ClientStatus =
  | { readonly state: 'connecting', readonly attempt: number }
  /**
   * `missed`: how many events the thread got while there was no connection; null when that cannot be said. They are told next, in
   * order and with `replayed: true`, and then `resumed`; or `resync_required` with the history, where they are not kept any more.
   */
  | { readonly state: 'ready', readonly threadId: string | null, readonly reconnected: boolean, readonly missed: number | null }
  | { readonly state: 'reconnecting', readonly attempt: number, readonly delayMs: number, readonly closeCode: number, readonly reason: string }
  /** For good. Without `error` because `close()` was called. */
  | { readonly state: 'closed', readonly error?: ThreadlineClientError }

interface Settings {
  /** The service: `http://127.0.0.1:3000`, also with `ws:`. `/v1/socket` is added. */
  readonly url: string
  /** The thread to start in. The server refuses one that is not the user's. */
  readonly threadId?: string
  /** The global one when absent. `ws` also tells why an upgrade was refused, so that the client can stop on it. */
  readonly WebSocket?: SocketConstructor
  /** Gets every event once, before the answer to a `send` is known to its caller. What it throws is thrown to the process. */
  readonly onEvent?: (event: ThreadlineEvent) => void
  readonly onStatus?: (status: ClientStatus) => void
  /** Closes the client. */
  readonly signal?: AbortSignal
  readonly reconnect?: Partial<ReconnectPolicy>
  /** For token, upgrade and `connection_established` together. 10 s when absent. */
  readonly connectTimeoutMs?: number
  /** For an answer, waiting for the connection included. 15 s when absent. */
  readonly sendTimeoutMs?: number
  /** Commands without an answer; one more is refused with `CLIENT_BUFFER_FULL`. 256 when absent. */
  readonly maxPending?: number
  /** Between two pings to a silent server. 25 s when absent. */
  readonly heartbeatMs?: number
  /** Sends every message (and `start_agent`, `regenerate`) again that a drop left without an answer. Off when absent. */
  readonly resend?: boolean
  /** For tests. */
  readonly clock?: Clock
  readonly random?: () => number
}

export type ConnectOptions = Settings & Credentials

export interface SendOptions {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** For this `user_message`; see `ConnectOptions`. */
  readonly resend?: boolean
}

/**
 * One user's connection, kept up until `close()`.
 *
 * After a drop it connects again after a growing random delay, with the thread of the old connection. It stops at once on the
 * close codes 4400–4499, except that a `4401` is answered by one attempt with a new token where `getToken` was given.
 * An event of a thread is told once, however often it arrives. What the thread told while there was no connection is told first, in its
 * order; where the server cannot do that any more, `resync_required` has the history to show instead.
 */
export interface ThreadlineClient {
  /** The first connection is established. Rejects if there will be none. */
  readonly ready: Promise<void>
  /** The thread of the connection; null before there is one. */
  readonly threadId: string | null
  /** Who the server says this is; null before the first connection. */
  readonly userId: string | null
  readonly connectionId: string | null
  /**
   * Sends a command, in the order of the calls, and resolves with its answer. Without a connection it waits for one.
   *
   * Rejects with a `ThreadlineClientError`: the server's own; `CLIENT_TIMED_OUT`; or, when the connection dropped before the
   * answer came, `CLIENT_DISCONNECTED`. After that, whether the server did it is not known. A message can be
   * sent again under the same `id` without being done twice; `resend` does so by itself. A message waits for its own thread:
   * if the connection is in another when it goes out, it names the thread that it was written in.
   */
  send<Name extends CommandType> (command: CommandToSend<Name>, options?: SendOptions): Promise<AnswerTo<Name>>
  /** The events from now on, for one reader. Ends with the client; see `EventFeed` for the bound. */
  events (options?: EventsOptions): EventIterator
  /** Closes the connection; what still waits is rejected with `CLIENT_CLOSED`. Resolves when the socket is closed, after 2 s at most. */
  close (): Promise<void>
}
