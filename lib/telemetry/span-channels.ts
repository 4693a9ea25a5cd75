import { channel } from 'node:diagnostics_channel'
import { diag } from '@opentelemetry/api'

/**
 * Each span of the process as it starts and as it ends, sampled or not, for who keeps evidence of them. A message is the SDK's span
 * itself: it goes on to change until it has ended, and is not to be changed by a subscriber. A subscriber must not throw: Node makes an
 * uncaught exception of it, which ends the process. See `harmless`.
 */
export const startedSpans = channel('threadline:span:started')
export const endedSpans = channel('threadline:span:ended')

/** A subscriber that throws nothing: a witness must not end what it watches. What fails is told to the diagnostics logger. */
export function harmless (subscriber: (message: unknown) => void): (message: unknown) => void {
  return (message) => {
    try {
      subscriber(message)
    } catch (error) {
      diag.error('A witness failed', error)
    }
  }
}
