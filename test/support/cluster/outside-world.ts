import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createGates } from '../gates.ts'
import { createArrivals } from '../arrivals.ts'
import { within } from '../within.ts'
import { markersIn } from './history.ts'
import { answerAsModel, type ModelRequest, type Place } from './model-answers.ts'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

/** Something that a tool has done, as often as it was asked for it. */
export interface Effect {
  readonly key: string
  readonly marker: string
  readonly userId: string
  readonly threadId: string
  readonly runId: string
}

/**
 * What the service talks to: a model over HTTP, and a ledger that a tool writes to. It outlives every node, counts what it was asked, and
 * holds an answer back for as long as a test wants, so that a fault happens in the middle.
 */
export interface OutsideWorld {
  /** For `OPENAI_COMPATIBLE_BASE_URL`. */
  readonly modelUrl: string
  /** Where the tool writes. */
  readonly ledgerUrl: string
  readonly effects: readonly Effect[]
  /** How often the model was asked about a message, by `place`. */
  asked (marker: string, place: Place): number
  /** From now on whoever comes to `place` with this marker waits. */
  hold (marker: string, place: Place): void
  /** Resolves when somebody has come there and waits, each time once, with the name of the node that has come. */
  arrival (marker: string, place: Place): Promise<string>
  /** Lets all go on that wait there, and who comes later; with a node, that one alone. */
  release (marker: string, place: Place, node?: string): void
}

/** Closed with the test. Whoever comes to a place is kept there for `pauseMs`. */
export async function startOutsideWorld (t: Test, { pauseMs = 0 }: { readonly pauseMs?: number } = {}): Promise<OutsideWorld> {
  const effects: Effect[] = []
  const asked: string[] = []
  const held = new Set<string>()
  const gates = createGates()
  const arrivals = createArrivals<{ readonly name: string, readonly node: string }>()

  const pass = async (marker: string, place: Place, node: string): Promise<void> => {
    const name = `${place} ${marker}`
    asked.push(name)
    if (pauseMs > 0) await sleep(pauseMs)
    if (!held.has(name)) return
    arrivals.push({ name, node })
    await Promise.race([gates.passed(name), gates.passed(`${name} ${node}`)])
  }

  async function answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Each node is known by the key with which it asks.
    const node = request.headers.authorization?.replace('Bearer ', '') ?? ''
    const body: unknown = JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString())
    if (request.url === '/ledger') {
      const effect = body as Effect // what the tool under test sends
      effects.push(effect)
      await pass(effect.marker, 'tool', node)
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ written: effect.marker }))
      return
    }
    await answerAsModel(response, body as ModelRequest, async (marker, place) => { await pass(marker, place, node) }) // what the SDK of the server under test sends
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => { response.destroy() })
  })
  const url = await listen(t, server)
  return {
    modelUrl: `${url}/v1`,
    ledgerUrl: `${url}/ledger`,
    effects,
    asked: (marker, place) => asked.filter((name) => name === `${place} ${marker}`).length,
    hold: (marker, place) => { held.add(`${place} ${marker}`) },
    arrival: async (marker, place) => {
      const awaited = `${place} ${marker}`
      const { node } = await within(`${awaited} to come`, arrivals.next(({ name }) => name === awaited), 60_000)
      return node
    },
    release (marker, place, node) {
      const name = `${place} ${marker}`
      if (node === undefined) held.delete(name)
      gates.open(node === undefined ? name : `${name} ${node}`)
    }
  }
}

/** What is wrong with what tools have done: for each message that asks for it once, under one key, in its own name. */
export function faultsOfEffects (effects: readonly Effect[], markers: readonly string[]): readonly string[] {
  const known = Map.groupBy(effects, ({ marker }) => marker)
  return [
    ...markers.filter((marker) => !known.has(marker)).map((marker) => `nothing was done for ${marker}`),
    ...[...known].flatMap(([marker, all]) => {
      const keys = new Set(all.map(({ key }) => key))
      const foreign = all.filter(({ userId, threadId }) => !marker.startsWith(`[${userId}/${threadId}/`))
      return [
        ...(keys.size === 1 ? [] : [`${marker} was done under ${keys.size} keys: ${[...keys].join(', ')}`]),
        ...(markersIn(marker).length === 1 ? [] : [`${marker} is no marker`]),
        ...foreign.map(({ userId, threadId }) => `${marker} was done for ${userId} in ${threadId}`)
      ]
    })
  ]
}

async function listen (t: Test, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close().closeAllConnections() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}` // listens on TCP
}
