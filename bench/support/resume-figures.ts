import type { Figure } from './figure.ts'
import { FrameReader } from './frame-reader.ts'
import type { ServerAddress } from './measured-server.ts'
import { spreadOf } from './statistics.ts'
import type { ToldThread } from './told-thread.ts'

/** What a server keeps at hand of a thread that has told something since it started. */
export const atHand = 256
export const mostMissed = 1_000
/** So many reconnections make one figure. */
const repeats = 5

interface Servers {
  readonly address: ServerAddress
  /** A server that sends what `missedFrames` has read. */
  readonly bare: ServerAddress
  /** A thread that has told nothing since the server started. */
  readonly old: ToldThread
  readonly recent: ToldThread
}

const isResumed = (frame: Buffer): boolean => frame.includes('"type":"resumed"')

/** Everything that a connection is sent that has missed the most. */
export async function missedFrames (address: ServerAddress, thread: ToldThread): Promise<readonly string[]> {
  const reader = new FrameReader(resumeUrl(address, thread, mostMissed), address.offers[0] ?? [], { keeps: true })
  await reader.until(isResumed)
  await reader.close()
  return reader.frames
}

/** Milliseconds from a new connection to having everything. */
export function resumeFigures ({ address, bare, old, recent }: Servers): readonly Figure[] {
  const threadline = (id: string, title: string, thread: ToldThread, events: number): Figure => ({
    id, title, base: `bare-${events}`, measure: async () => await timeOf(resumeUrl(address, thread, events), address.offers[0] ?? [])
  })
  // Beside the events, a client is told where it is, and that this was all.
  const plain = (events: number): Figure => ({
    id: `bare-${events}`, title: `bare ws, ${events} events`, base: `bare-${events}`, measure: async () => await timeOf(`${bare.url}?frames=${events + 2}`, [])
  })
  return [
    plain(mostMissed),
    threadline(`log-${mostMissed}`, `${mostMissed} missed, from the log`, old, mostMissed),
    threadline(`mixed-${mostMissed}`, `${mostMissed} missed, the last ${atHand} at hand`, recent, mostMissed),
    plain(atHand),
    threadline(`log-${atHand}`, `${atHand} missed, from the log`, old, atHand),
    threadline(`hand-${atHand}`, `${atHand} missed, all at hand`, recent, atHand),
    plain(0),
    threadline('none', 'nothing missed', recent, 0)
  ]
}

function resumeUrl ({ url }: ServerAddress, { threadId, sequence, epoch }: ToldThread, events: number): string {
  return `${url}?${new URLSearchParams({ thread_id: threadId, after: String(sequence - events), epoch }).toString()}`
}

async function timeOf (url: string, offer: readonly string[]): Promise<number> {
  const times: number[] = []
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const startedAt = performance.now()
    const reader = new FrameReader(url, offer)
    await reader.until(isResumed)
    times.push(performance.now() - startedAt)
    await reader.close()
  }
  return spreadOf(times).median
}
