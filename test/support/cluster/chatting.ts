import { tokenOf } from './access.ts'
import { ClusterClient, type Gateway } from './cluster-client.ts'
import { markerOf, type History } from './history.ts'
import { asksForTool } from './model-answers.ts'
import { createThread, readThread } from './read-thread.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

/** A user in one thread, with a client at each of two gateways. */
export interface Talker {
  readonly user: string
  readonly threadId: string
  readonly clients: readonly [ClusterClient, ClusterClient]
  /** Every message that it has begun to send. */
  readonly markers: readonly string[]
  /** Those of them that ask for the tool. */
  readonly written: readonly string[]
  /** The marker of the next message. */
  readonly next: (options?: { readonly tool?: boolean }) => { readonly marker: string, readonly content: string }
  /** Sends the next message by one of its clients, and resolves with its run when it is accepted. */
  readonly say: (options?: { readonly tool?: boolean, readonly from?: 0 | 1 }) => Promise<string>
}

export interface Chatting {
  readonly talkers: readonly Talker[]
  /** Everybody says one thing after the other until `stop`. Resolves when all has been answered; rejects when something was not. */
  readonly keepTalking: (options?: { readonly pauseMs?: number }) => { readonly stop: () => Promise<void>, readonly said: () => number }
  /** Waits until everybody has been told everything, lets them leave, and reads what is kept. */
  finish (): Promise<History>
}

/** Users who chat over the gateways of a cluster. They leave with the test. */
export async function startChatting (t: Test, gateways: () => readonly Gateway[], users: readonly string[]): Promise<Chatting> {
  const talkers = await Promise.all(users.map(async (user) => await startTalker(t, gateways, user)))
  return {
    talkers,
    keepTalking ({ pauseMs = 0 } = {}) {
      let talking = true
      let said = 0
      const talk = async (talker: Talker, index: number): Promise<void> => {
        for (let turn = 0; talking; turn += 1) {
          const from = turn % 2 === 0 ? 0 : 1
          const run = await talker.say({ tool: (turn + index) % 3 === 0, from })
          await talker.clients[1 - from]?.toldEnd(run)
          said += 1
          if (pauseMs > 0) await new Promise((resolve) => { setTimeout(resolve, pauseMs) })
        }
      }
      const done = Promise.all(talkers.map(talk))
      done.catch(() => undefined) // told by `stop`
      return {
        said: () => said,
        async stop () {
          talking = false
          await done
        }
      }
    },
    async finish () {
      const threads = await Promise.all(talkers.map(async ({ user, threadId, clients }) => {
        const [gateway] = gateways()
        if (gateway === undefined) throw new Error('No gateway runs')
        const thread = await readThread({ url: gateway.url, token: await tokenOf(user), user, threadId })
        for (const client of clients) await client.toldTo(thread.events.at(-1)?.sequence ?? 0)
        return thread
      }))
      await Promise.all(talkers.flatMap(({ clients }) => clients.map(async (client) => { await client.leave() })))
      return { clients: talkers.flatMap(({ clients }) => clients.map((client) => client.record(true))), threads }
    }
  }
}

async function startTalker (t: Test, gateways: () => readonly Gateway[], user: string): Promise<Talker> {
  const token = await tokenOf(user)
  const [gateway] = gateways()
  if (gateway === undefined) throw new Error('No gateway runs')
  const { threadId } = await createThread({ url: gateway.url, token })
  const open = (first: number): ClusterClient => {
    const client = new ClusterClient({ name: `${user}-${first}`, user, threadId, token, gateways, first })
    t.teardown(async () => { await client.leave() })
    return client
  }
  const clients = [open(0), open(1)] as const
  await Promise.all(clients.map(async (client) => { await client.ready() }))
  const markers: string[] = []
  const written: string[] = []
  const next: Talker['next'] = ({ tool = false } = {}) => {
    const marker = markerOf(user, threadId, markers.length)
    markers.push(marker)
    if (tool) written.push(marker)
    return { marker, content: tool ? `${marker} ${asksForTool}` : `${marker} hello` }
  }
  return {
    user,
    threadId,
    clients,
    markers,
    written,
    next,
    say: async ({ tool = false, from = 0 } = {}) => await clients[from].say(next({ tool }).content)
  }
}
