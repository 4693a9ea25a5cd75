import type { BareFrames } from '../servers/bare-frames.ts'
import type { CpuTime } from './cpu-time.ts'
import type { Figure } from './figure.ts'
import { FrameReader } from './frame-reader.ts'
import type { MeasuredServer, ServerAddress } from './measured-server.ts'
import type { Program } from './program.ts'
import { endOfTelling, tell, tellThread } from './told-thread.ts'

interface Servers {
  readonly server: Program<MeasuredServer>
  readonly address: ServerAddress
  readonly bare: Program<BareFrames>
  readonly bareAddress: ServerAddress
}

/** Microseconds of the server's CPU for each event of a thread with so many followers, and for the same without anything but `ws`. */
export function followerFigures (followers: number, events: number, { server, address, bare, bareAddress }: Servers): readonly Figure[] {
  const live: Figure = {
    id: `live-${followers}`,
    title: `${followers} ${followers === 1 ? 'follower' : 'followers'}`,
    base: 'live-1',
    async measure () {
      const { threadId } = await tellThread(address, 4)
      const readers = await openReaders(`${address.url}?thread_id=${threadId}`, address.offers[0] ?? [], followers)
      return await cpuOf(() => server.ask('cpu', undefined), events, readers, async ([speaker, ...others]) => {
        await Promise.all([speaker === undefined ? undefined : tell(speaker, events), ...others.map(endOfTelling)])
      })
    }
  }
  const broadcast: Figure = {
    id: `broadcast-${followers}`,
    title: `bare ws broadcast to ${followers}`,
    base: 'broadcast-1',
    async measure () {
      const readers = await openReaders(bareAddress.url, [], followers)
      return await cpuOf(() => bare.ask('cpu', undefined), events, readers, async () => {
        await Promise.all([bare.ask('broadcast', events), ...readers.map((reader) => reader.more(events))])
      })
    }
  }
  return [live, broadcast]
}

/** Each has been told something. */
async function openReaders (url: string, offer: readonly string[], count: number): Promise<readonly FrameReader[]> {
  return await Promise.all(Array.from({ length: count }, async () => {
    const reader = new FrameReader(url, offer)
    await reader.more(1)
    return reader
  }))
}

async function cpuOf (
  cpu: () => Promise<CpuTime>, events: number, readers: readonly FrameReader[], work: (readers: readonly FrameReader[]) => Promise<void>
): Promise<number> {
  const before = await cpu()
  await work(readers)
  const after = await cpu()
  await Promise.all(readers.map((reader) => reader.close()))
  return (after.process - before.process) / events
}
