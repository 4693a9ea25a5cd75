import { channel } from 'node:diagnostics_channel'

/**
 * Each span of the process as it starts and as it ends, sampled or not, for who keeps evidence of them. A message is the SDK's span
 * itself: it goes on to change until it has ended, and is not to be changed by a subscriber.
 */
export const startedSpans = channel('threadline:span:started')
export const endedSpans = channel('threadline:span:ended')
