import type { ServerResponse } from 'node:http'
import type { ServerEvent } from '../protocol/events.ts'
import type { ThreadId } from '../protocol/ids.ts'
import type { Attachment, Caller } from './attachment.ts'
import type { Outbox } from './outbox.ts'
import type { Position } from './resume.ts'
import { isDeletion, RunListening } from './run-listening.ts'
import { streamRun, type RunRequest, type RunStreamOptions } from './run-stream.ts'
import { StreamOutbox, type StreamOutboxOptions } from './stream-outbox.ts'

/**
 * Connections of clients that only listen: each answers one request with a stream of events. Both ways throw as long as nothing is written,
 * so that the request can be refused with a status: `THREADLINE_THREAD_NOT_FOUND`, `THREADLINE_CONNECTION_LIMIT`, `THREADLINE_SHUTTING_DOWN`,
 * and whatever else keeps the stream from beginning. They resolve once it goes on by itself. It ends for the same reasons as a socket.
 */
export interface EventStreams {
  /** The events of a thread, which was found to be the user's own, from a position or from now on, until it is deleted. */
  followThread (response: ServerResponse, caller: Caller, thread: FollowedThread): Promise<void>
  /**
   * Sends a message in the active identity, and streams its run to its end, with nothing lost between the two. A message that had been accepted
   * before is streamed from the first event of the run that it has.
   */
  streamRun (response: ServerResponse, caller: Caller, request: RunRequest): Promise<void>
}

export interface FollowedThread { readonly threadId: ThreadId, readonly position?: Position | undefined }

/** A connection to be registered. Without `hears` its client listens to everything. */
export interface Attaching {
  readonly outbox: Outbox
  readonly caller: Caller
  readonly names: Partial<FollowedThread>
  readonly hears?: (event: ServerEvent) => boolean
}

export interface EventStreamsOptions extends RunStreamOptions {
  /** Throws what the registry's `connect` throws, and `THREADLINE_SHUTTING_DOWN`. */
  readonly attach: (attaching: Attaching) => Attachment
  readonly limits: { readonly maxOutboxBytes: number, readonly closeTimeoutMs: number }
}

export function createEventStreams (options: EventStreamsOptions): EventStreams {
  const { attach, limits: { maxOutboxBytes: maxBytes, closeTimeoutMs } } = options

  function outboxTo (response: ServerResponse, more: Pick<StreamOutboxOptions, 'resuming' | 'isLast'>): StreamOutbox {
    return new StreamOutbox(response, { maxBytes, closeTimeoutMs, ...more })
  }

  return {
    async followThread (response, caller, names) {
      const { threadId, position } = names
      const outbox = outboxTo(response, { resuming: position !== undefined, isLast: (event) => isDeletion(event, threadId) })
      const attachment = attach({ outbox, caller, names })
      await answering({ attachment, outbox }, () => attachment.establish())
    },

    async streamRun (response, caller, request) {
      const listening = new RunListening(request.threadId)
      const outbox = outboxTo(response, { resuming: false, isLast: (event) => listening.isLast(event) })
      const hears = (event: ServerEvent): boolean => !outbox.isComplete && listening.hears(event)
      const attachment = attach({ outbox, caller, names: {}, hears })
      await answering({ attachment, outbox }, () => streamRun(request, { attachment, outbox, listening }, options))
    }
  }
}

/** Until the stream is open, a failure is the answer to the request. Afterwards the stream ends by it. */
async function answering (
  { attachment, outbox }: { readonly attachment: Attachment, readonly outbox: StreamOutbox }, work: () => Promise<void>
): Promise<void> {
  try {
    await work()
  } catch (err) {
    if (!outbox.isOpen) throw err
    attachment.fail(err)
  }
}
