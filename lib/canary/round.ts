import { canaryUsers } from './canary-users.ts'
import { removeThreads, type RemoveOptions } from './remove-threads.ts'
import { takeSeat, type Furniture, type Seat, type SeatOptions } from './seat.ts'
import { checkStory, checkTools, say } from './story.ts'
import { trespass, type TrespassOptions } from './trespass.ts'

export type RoundOptions = Omit<SeatOptions, 'signal'> & TrespassOptions & RemoveOptions

/** A thread that is this much older than those of the round was left by a process that died: no round lasts so long. */
const leftBehindMs = 60_000

/**
 * One of the users sits in two threads at once, the other in one. All speak at the same time, twice, in both orders; then each tries to get at
 * what is the other user's. Resolves when all of it was played and every canary was told its own story; what was found in a wrong place was
 * raised by then. Throws when it could not be played, and with the reason of the signal. In any case nothing of it is left.
 */
export async function playRound (options: RoundOptions, signal: AbortSignal): Promise<void> {
  const furniture: Furniture = { threads: [], clients: [] }
  const seats: Seat[] = []
  try {
    for (const userId of [canaryUsers.a, canaryUsers.b, canaryUsers.a]) seats.push(await takeSeat(userId, furniture, { ...options, signal }))
    await Promise.all(seats.map(say))
    await Promise.all(seats.toReversed().map(say))
    for (const seat of seats) {
      checkTools(seat, options.watch)
      checkStory(seat)
    }
    for (const [seat, other] of strangers(seats)) {
      signal.throwIfAborted()
      await trespass(seat, other, options)
    }
  } finally {
    for (const client of furniture.clients) client.close('replaced')
    await leaveNothing(furniture, options)
  }
}

/** Each seat with one of the other user. */
function strangers (seats: readonly Seat[]): readonly (readonly [Seat, Seat])[] {
  return seats.flatMap((seat) => {
    const other = seats.find(({ userId }) => userId !== seat.userId)
    return other === undefined ? [] : [[seat, other] as const]
  })
}

/** Removes what was made, and what was left behind. The two are told apart by the clock of the database alone. */
async function leaveNothing ({ threads }: Furniture, options: RemoveOptions): Promise<void> {
  const own = new Set(threads.map((thread) => thread.thread_id))
  const since = Math.max(0, ...threads.map((thread) => Date.parse(thread.created_at))) - leftBehindMs
  if (own.size === 0) return
  for (const userId of Object.values(canaryUsers)) {
    await removeThreads(userId, (thread) => own.has(thread.thread_id) || Date.parse(thread.created_at) < since, options)
  }
}
