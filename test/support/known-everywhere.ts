import { setImmediate as turn } from 'node:timers/promises'
import type { ThreadId } from '../../lib/protocol/ids.ts'
import { actingAs } from './acting-as.ts'
import type { TestServer } from './start-server.ts'
import { within } from './within.ts'

/** Resolves when each gateway knows of so many connections of the user in a thread: of its own, and of what the others have told it. */
export async function knownEverywhere ({ gateways }: TestServer, user: string, thread: ThreadId, count: number): Promise<void> {
  const known = (): readonly number[] => actingAs(user, () => gateways.map(({ gateway }) => gateway.registry.getUserConnectionsByThread(thread).size + gateway.elsewhereIn(thread)), thread)
  let stopped = false
  const wait = async (): Promise<void> => { while (known().some((found) => found !== count) && !stopped) await turn() }
  await within(() => `${count} connections to be known, and not ${known().join(' and ')}`, wait(), 10_000).finally(() => { stopped = true })
}
