import { isDeepStrictEqual } from 'node:util'
import type { ServerEvent, ThreadEvent } from '../../../lib/protocol/events.ts'
import { isEvent } from '../is-event.ts'
import type { HistoryViolation, ViolationKind } from './check-history.ts'
import { markersIn, type ClientRecord, type ConnectionRecord, type ThreadRecord } from './history.ts'

/** What is wrong with what one client was told, compared with the log of its thread. */
export function checkClient (client: ClientRecord, thread: ThreadRecord): readonly HistoryViolation[] {
  const log = new Map(thread.events.map((event) => [event.sequence, event] as const))
  const told = new Set(client.connections.flatMap(({ received }) => received.flatMap(({ event }) => event.sequence ?? [])))
  const violations = client.connections.flatMap((connection, index) => {
    const where = `${client.name}, connection ${index} to ${connection.node},`
    return [...checkConnection(where, connection, log), ...checkOwner(where, connection, client)]
  })
  const first = Math.min(...told)
  const last = client.toTheEnd ? thread.events.at(-1)?.sequence ?? 0 : Math.max(...told)
  const missing = Array.from({ length: Math.max(0, last - first + 1) }, (_number, index) => first + index).filter((sequence) => !told.has(sequence))
  if (missing.length > 0) violations.push({ kind: 'told-too-little', text: `${client.name} was never told ${missing.slice(0, 5).join(', ')} of ${last}` })
  if (client.toTheEnd && told.size === 0 && last > 0) violations.push({ kind: 'told-too-little', text: `${client.name} was told nothing of ${last}` })
  return violations
}

/** On one connection every event comes once, in order, without a gap, from where the client has asked for, and as the log has it. */
function checkConnection (where: string, { after, received }: ConnectionRecord, log: ReadonlyMap<number, ThreadEvent>): readonly HistoryViolation[] {
  const violations: HistoryViolation[] = []
  const add = (kind: ViolationKind, text: string): void => { violations.push({ kind, text: `${where} ${text}` }) }
  const told = new Set<number>()
  let last = after
  for (const { event } of received) {
    if (isEvent(event, 'connection_established')) last ??= event.payload.sequence
    if (isEvent(event, 'resync_required')) add('told-anew', `was told to forget what it knew: ${event.payload.reason}`)
    const { sequence } = event
    if (sequence === undefined) continue
    const expected = last === undefined ? sequence : last + 1
    if (told.has(sequence)) add('told-twice', `was told ${sequence} twice`)
    else if (sequence < expected) add('told-inversion', `was told ${sequence} behind ${last}`)
    else if (sequence > expected) add('told-gap', `was told ${sequence} behind ${last}`)
    told.add(sequence)
    last = Math.max(sequence, last ?? 0)
    const kept = log.get(sequence)
    if (kept === undefined) add('told-beyond', `was told ${sequence}, which the log does not have`)
    else if (!isSame(event, kept)) add('told-otherwise', `was told ${JSON.stringify(event)}, and the log has ${JSON.stringify(kept)}`)
  }
  return violations
}

/** Nothing of another user, of another thread, or with words of another. */
function checkOwner (where: string, { received }: ConnectionRecord, { user, threadId }: ClientRecord): readonly HistoryViolation[] {
  return received.flatMap(({ event }) => {
    const foreign = markersIn(event).filter((found) => !found.startsWith(`[${user}/${threadId}/`))
    const isOwn = event.user_id === user && (event.thread_id === null || event.thread_id === threadId)
    const text = `${where} was told ${event.type} of ${event.user_id} in ${event.thread_id} with ${foreign.join(', ') || 'no marker'}`
    return isOwn && foreign.length === 0 ? [] : [{ kind: 'told-crossed', text } as const]
  })
}

/** `replayed` says only how it was told. */
function isSame (told: ServerEvent, kept: ThreadEvent): boolean {
  return isDeepStrictEqual({ ...told, replayed: undefined }, { ...kept, replayed: undefined })
}
