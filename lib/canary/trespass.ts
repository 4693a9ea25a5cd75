import { enterThread } from '../context/current-thread.ts'
import { createIdentity } from '../context/identity.ts'
import { isThreadlineError, type ErrorCode } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { ServerEvent } from '../protocol/events.ts'
import type { RunId } from '../protocol/ids.ts'
import type { Storage } from '../stores/storage.ts'
import { isEventOf } from './canary-client.ts'
import type { CrossingPlace } from './crossing.ts'
import type { Seat } from './seat.ts'
import { errorOf } from './story.ts'
import { spanOf, type Watch } from './watch.ts'

export interface TrespassOptions {
  readonly gateway: Pick<Gateway, 'perform' | 'exportThread' | 'registry'>
  readonly storage: Storage
  readonly log: Pick<EventLog, 'read'>
  readonly watch: Watch
}

/** What a user is told of what belongs to somebody else. */
const unknown: readonly ErrorCode[] = ['THREADLINE_THREAD_NOT_FOUND', 'THREADLINE_RUN_NOT_FOUND', 'THREADLINE_NOT_FOUND']

/**
 * Tries to get at another user's thread in every way that there is, each of which has to find nothing: by its own search and list, by commands
 * that name it, and below these by asking stores and live registries, which no command reaches with a thread that is not its user's. What does
 * find something is raised. Throws when it could not be tried, or does not even find what is the canary's own.
 */
export async function trespass (seat: Seat, other: Seat, options: TrespassOptions): Promise<void> {
  const run = other.said.at(-1)?.runId
  if (run === undefined) throw new Error('The other canary has said nothing')
  await lookAround(seat, other, options)
  const { userId, threadId } = seat
  await enterThread(createIdentity({ userId, threadId }), async () => {
    await tryAll([...waysByCommand(other, run, options), ...waysBelow(other, run, options)], seat, other, options)
  })
}

/** One that fails says nothing, and hinders none of the others. */
async function tryAll (ways: readonly Way[], seat: Seat, other: Seat, options: TrespassOptions): Promise<void> {
  let failure: Error | undefined
  for (const [what, reach] of ways) {
    try {
      if (await reaches(reach)) raise('read', what, seat, other, options)
    } catch (error) {
      failure ??= error instanceof Error ? error : new Error(String(error))
    }
  }
  if (failure !== undefined) throw failure
}

/** As a client, by frames: none of these names what it looks for. */
async function lookAround (seat: Seat, other: Seat, options: TrespassOptions): Promise<void> {
  const { client, marker, threadId } = seat
  const listed = await client.ask({ type: 'list_threads', payload: { limit: 100 } })
  if (!isEventOf(listed, 'thread_list')) throw new Error(`A canary could not list its threads: ${errorOf(listed)}`)
  if (JSON.stringify(listed.payload).includes(other.threadId)) raise('read', listed.type, seat, other, options, listed)

  const own = await client.ask({ type: 'search_threads', payload: { query: marker } })
  if (!isEventOf(own, 'search_results')) throw new Error(`A canary could not search: ${errorOf(own)}`)
  if (own.payload.results[0]?.thread.thread_id !== threadId) throw new Error('A canary does not find its own message')
  const theirs = await client.ask({ type: 'search_threads', payload: { query: other.marker } })
  if (!isEventOf(theirs, 'search_results')) throw new Error(`A canary could not search: ${errorOf(theirs)}`)
  if (theirs.payload.results.length > 0) raise('search', theirs.type, seat, other, options, theirs)
}

type Way = readonly [what: string, reach: () => unknown]

/** As requests, which are refused before anything is done for them: a refused frame would be kept as the trace of an error, round after round. */
function waysByCommand ({ threadId }: Seat, run: RunId, { gateway }: TrespassOptions): readonly Way[] {
  const theirs = { thread_id: threadId }
  return [
    ['get_thread', () => gateway.perform({ type: 'get_thread', payload: theirs })],
    ['fork_thread', () => gateway.perform({ type: 'fork_thread', payload: theirs })],
    ['get_thread_history', () => gateway.perform({ type: 'get_thread_history', ...theirs, payload: {} })],
    ['list_runs', () => gateway.perform({ type: 'list_runs', ...theirs, payload: {} })],
    ['get_run', () => gateway.perform({ type: 'get_run', ...theirs, payload: { run_id: run } })],
    ['user_message', () => gateway.perform({ type: 'user_message', ...theirs, payload: { content: 'Nobody may hear this' } })],
    ['export_thread', () => gateway.exportThread(threadId, 'json')]
  ]
}

function waysBelow ({ threadId, connectionId, marker }: Seat, run: RunId, { storage, log, gateway: { registry } }: TrespassOptions): readonly Way[] {
  const { threads, messages, runs, events } = storage
  return [
    ['threads.require', () => threads.require(threadId, { deleted: true })],
    ['threads.state', () => threads.state(threadId)],
    ['threads.search', async () => (await threads.search(marker, { limit: 1 })).results[0]],
    ['messages.history', () => messages.history(threadId, { limit: 1 })],
    ['runs.require', () => runs.require(run)],
    ['runs.list', () => runs.list(threadId, { limit: 1 })],
    ['runs.firstSequence', () => runs.firstSequence(run)],
    ['events.read', () => events.read(threadId, 0, 1)],
    ['event-log', () => log.read(threadId, 0, 1)],
    ['connection-registry', () => registry.getConnectionInfo(connectionId) ?? [...registry.getUserConnectionsByThread(threadId)][0]]
  ]
}

/** Nothing, and a refusal as unknown, are the only answers by which nothing was reached. */
async function reaches (reach: () => unknown): Promise<boolean> {
  try {
    return await reach() !== undefined
  } catch (error) {
    if (isThreadlineError(error) && unknown.includes(error.code)) return false
    throw error
  }
}

function raise (
  where: CrossingPlace, what: string, seat: Seat, { userId, threadId }: Seat, { watch }: TrespassOptions, answer?: ServerEvent
): void {
  const { userId: foundAt, connectionId } = seat
  watch.raise({ where, what, canary: userId, threadId, foundAt, connectionId }, answer === undefined ? undefined : spanOf(answer))
}
