import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { ThreadlineClientError } from '../../client/client-error.ts'
import { connectThreadline } from '../../client/connect.ts'
import type { ThreadlineClient } from '../../client/threadline-client.ts'
import type { ThreadlineEvent } from '../../client/threadline-event.ts'
import { defineAgent } from '../../lib/agents/define-agent.ts'
import type { Connection } from '../../lib/gateway/connection.ts'
import { createRandom } from '../support/cluster/histories/seeded-random.ts'
import { startServer } from '../support/start-server.ts'
import { within } from '../support/within.ts'

// The client of the package against the service, while connections are lost at any moment. In a cluster it comes back to another gateway each time.

/** Tells what takes some time, so that connections are lost between its events as well. */
const writer = defineAgent({
  name: 'writer',
  async * run ({ content }) {
    for (let word = 0; word < 6; word += 1) {
      yield { type: 'text', text: `${word} ` }
      yield { type: 'thinking', message: content }
      await sleep(5)
    }
  }
})

// FUZZ_SEED=42 node test/client/lost-connections.test.ts
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)
const random = createRandom(seed)
/** Ends everything: also what would go on for ever when something has failed. */
const over = new AbortController()
const server = await startServer(t, { agents: [writer], env: { DEFAULT_AGENT: 'writer', MAX_CONNECTIONS_PER_USER: 100 } })

interface Person {
  readonly client: ThreadlineClient
  readonly events: readonly ThreadlineEvent[]
  /** Does it again under the same circumstances until it is answered. */
  readonly insist: <Answer>(ask: () => Promise<Answer>) => Promise<Answer>
  /** Resolves with the thread of the message when its run has ended, as it was told. */
  readonly chat: (id: string) => Promise<string>
}

async function enter (name: string): Promise<Person> {
  const events: ThreadlineEvent[] = []
  const client = connectThreadline({
    url: server.url, token: await server.token(name), WebSocket, signal: over.signal, resend: true, reconnect: { baseMs: 30, maxMs: 100 }, onEvent: (event) => { events.push(event) }
  })
  const insist: Person['insist'] = async (ask) => {
    for (;;) {
      try {
        return await ask()
      } catch (error) {
        if (!(error instanceof ThreadlineClientError && error.retryable)) throw error
        await turn()
      }
    }
  }
  return {
    client,
    events,
    insist,
    async chat (id) {
      const { thread_id: thread, payload: { run_id: run } } = await insist(() => client.send({ type: 'user_message', id, payload: { content: id } }))
      const isEnd = (event: ThreadlineEvent): boolean => event.type === 'agent_completed' && event.run_id === run
      await within(() => `${id} to be answered in ${client.threadId}`, (async () => { while (!events.some(isEnd) && !over.signal.aborted) await turn() })())
      return thread ?? ''
    }
  }
}

/** In the thread that its first message opens, in another one, and in the first again. */
async function talk (name: string): Promise<readonly string[]> {
  const { client, events, insist, chat } = await enter(name)
  const first = [await chat(`${name} 1`), await chat(`${name} 2`)]
  const made = await insist(() => client.send({ type: 'create_thread', payload: {} }))
  const other = made.payload.thread_id
  await insist(() => client.send({ type: 'switch_thread', payload: { thread_id: other } }))
  const second = [await chat(`${name} 3`), await chat(`${name} 4`)]
  await insist(() => client.send({ type: 'switch_thread', payload: { thread_id: first[0] ?? '' } }))
  const again = [await chat(`${name} 5`)]
  await client.close()

  const problems = new Set([...first, ...again]).size === 1 && second.every((thread) => thread === other) ? [] : [`${name} was in ${[first, second, again].join(', ')}`]
  for (const [thread, told] of Map.groupBy(events.filter(({ sequence }) => sequence !== undefined), ({ thread_id: id }) => id)) {
    const sequences = told.map(({ sequence }) => sequence)
    if (sequences.some((sequence, index) => sequence !== index + 1)) problems.push(`${name} was told ${sequences.join(' ')} of ${thread}`)
  }
  return problems
}

async function loseConnections (): Promise<number> {
  let lost = 0
  while (!over.signal.aborted) {
    await sleep(random.between(5, 60))
    const connections: Connection[] = []
    for (const { gateway } of server.gateways) gateway.registry.forEach((connection) => { connections.push(connection) })
    for (const connection of connections) {
      if (random.next() > 0.15) continue
      lost += 1
      if (random.next() < 0.5) connection.terminate()
      else connection.close(random.pick(['drain', 'notReady', 'slowConsumer', 'internal']))
    }
  }
  return lost
}

// kill: no `moveTo` in `#opened` of client/connect.ts
t.test('whoever loses connections at any moment is told every event of each thread once and in order, from the first', async (t) => {
  t.comment(`FUZZ_SEED=${seed}`)
  t.teardown(() => { over.abort() })
  const losing = loseConnections()

  const problems = await Promise.all(Array.from({ length: 12 }, async (_person, index) => await talk(`person-${index}`)))
  over.abort()
  const lost = await losing

  t.same(problems.flat(), [])
  t.ok(lost > 20, `${lost} connections were lost`)
})
