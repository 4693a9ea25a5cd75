/**
 * What the check of inheritance and the evidence of runs cost: CPU of the service for each message, with them and without.
 *
 *   npm run bench:isolation -- --rounds 30 --messages 200
 *   npm run bench:isolation -- --only idle
 *
 * On the whole durable turn, for a service that exports nothing, one that samples a tenth of the traces, and one that samples all; then, for
 * information, on bare hops. Each service is a process of its own, and the two of a pair take turns in each round; clients and collector are in this
 * process and are not counted. Many short rounds, because a machine is noisy for longer than one of them; on a slow machine there are fewer, so that it
 * comes to its end. The goal is at most 3 % of a message. Ends with one line of JSON.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import type { ServerEvent } from '../lib/protocol/events.ts'
import type { CheckedHops } from './servers/checked-hops.ts'
import { readCount, runBench } from './support/command-line.ts'
import type { MeasuredServer, ServerAddress } from './support/measured-server.ts'
import { startProgram, type Program } from './support/program.ts'
import { openLoad, type SocketLoad } from './support/socket-load.ts'
import { spreadOf, type Spread } from './support/statistics.ts'
import { formatTable } from './support/table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    messages: { type: 'string', default: '200' },
    only: { type: 'string' },
    timeout: { type: 'string', default: '900' }
  }
})
const rounds = readCount('rounds', values['rounds'])
const messages = readCount('messages', values['messages'])
const timeoutSeconds = readCount('timeout', values['timeout'])

const clients = 32
const goal = 0.03
const frame = JSON.stringify({ type: 'user_message', payload: { content: 'How much does it cost to know that one serves the right one?' } })

interface Pair { readonly id: string, readonly title: string, readonly args: (endpoint: string) => readonly string[] }

const only = values['only']?.split(',')
const allPairs: readonly Pair[] = [
  { id: 'idle', title: 'durable turn, nothing exported', args: () => [] },
  { id: 'sampled10', title: 'durable turn, 10 % exported', args: (endpoint) => ['0.1', endpoint] },
  { id: 'sampled100', title: 'durable turn, 100 % exported', args: (endpoint) => ['1', endpoint] }
]
const pairs = allPairs.filter(({ id }) => only === undefined || only.includes(id))

interface Running { readonly server: Program<MeasuredServer>, readonly address: ServerAddress }

/** µs of CPU per message: without the check, and with it. */
interface Measured { readonly off: number, readonly on: number }

const limit = new AbortController()
/** For each pair, and for the hops; a part is left for starting. */
const shareMs = timeoutSeconds * 1000 * 0.8 / (pairs.length + 1)

await runBench(bench, timeoutSeconds, limit)

async function bench (): Promise<void> {
  const collector = createServer((request, response) => { request.resume().once('end', () => { response.end() }) }).listen(0, '127.0.0.1')
  await once(collector, 'listening')
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}` // it listens on TCP
  const turns = new Map<string, readonly Measured[]>()
  for (const pair of pairs) turns.set(pair.id, await measurePair(pair, endpoint))
  collector.close().closeAllConnections()
  report(turns, await measureHops())
}

async function measurePair ({ args }: Pair, endpoint: string): Promise<readonly Measured[]> {
  const [off, on] = [await startTurn('off', args(endpoint)), await startTurn('on', args(endpoint))]
  // Not counted: code that runs for the first time is slow, and not only where it is checked.
  for (const running of [off, on]) for (let turn = 0; turn < 8; turn += 1) await measureOne(running)
  const measured: Measured[] = []
  const until = performance.now() + shareMs
  for (let round = 0; round < rounds && (round === 0 || performance.now() < until); round += 1) {
    // Who comes first alternates, so that what one leaves behind for the other is the same for both.
    const first = round % 2 === 0 ? await measureOne(off) : undefined
    const second = await measureOne(on)
    measured.push({ off: first ?? await measureOne(off), on: second })
  }
  await Promise.all([off, on].map(({ server }) => server.end()))
  return measured
}

async function startTurn (check: 'on' | 'off', args: readonly string[]): Promise<Running> {
  const server = startProgram<MeasuredServer>(new URL('servers/checked-turn.ts', import.meta.url), { signal: limit.signal, args: [check, ...args] })
  return { server, address: await server.ask('start', undefined) }
}

/** In new threads, which have no history yet. */
async function withLoad<T> ({ address }: Running, work: (load: SocketLoad) => Promise<T>): Promise<T> {
  const load = await openLoad(address, { clients, frame, isAnswer: isEndOfRun })
  await load.exchange(clients * 2)
  const result = await work(load)
  await load.close()
  return result
}

async function measureOne (running: Running): Promise<number> {
  return await withLoad(running, async (load) => {
    const before = await running.server.ask('cpu', undefined)
    await load.exchange(messages)
    const after = await running.server.ask('cpu', undefined)
    return (after.process - before.process) / messages
  })
}

function isEndOfRun (text: string): boolean {
  const { type, payload } = JSON.parse(text) as ServerEvent // what Threadline sends
  if (type === 'error' || ('status' in payload && payload.status !== 'completed')) throw new Error(`A turn went wrong: ${text}`)
  return type === 'agent_completed'
}

/** µs of CPU per span, by what is done with it. */
async function measureHops (): Promise<ReadonlyMap<string, Spread>> {
  const variants = ['unsampled', 'sampled'].flatMap((sampling) => ['off', 'check', 'evidence'].map((what) => [sampling, what] as const))
  const programs = variants.map((args) => ({
    id: args.join(' '), program: startProgram<CheckedHops>(new URL('servers/checked-hops.ts', import.meta.url), { signal: limit.signal, args }), costs: [] as number[]
  }))
  const until = performance.now() + shareMs
  for (let round = 0; round < rounds && (round === 0 || performance.now() < until); round += 1) {
    for (const { program, costs } of programs) costs.push(await program.ask('measure', 20_000))
  }
  await Promise.all(programs.map(({ program }) => program.end()))
  return new Map(programs.map(({ id, costs }) => [id, spreadOf(costs)]))
}

function report (turns: ReadonlyMap<string, readonly Measured[]>, hops: ReadonlyMap<string, Spread>): void {
  const rows = pairs.map(({ id, title }) => {
    const measured = turns.get(id) ?? []
    return {
      id, title, rounds: measured.length, off: spreadOf(measured.map(({ off }) => off)), on: spreadOf(measured.map(({ on }) => on)),
      share: spreadOf(measured.map(({ off, on }) => on / off - 1))
    }
  })
  console.log(`CPU of the service's process per message; ${clients} clients, medians of at most ${rounds} rounds; ` +
    `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n`)
  console.log(formatTable([['', 'rounds', 'without, µs', 'with, µs', 'more', 'in the rounds'], ...rows.map(({ title, rounds: done, off, on, share }) =>
    [title, String(done), off.median.toFixed(1), on.median.toFixed(1), percent(share.median), `${percent(share.min)} – ${percent(share.max)}`])]))
  console.log(`\nThe goal is at most ${percent(goal)}.\n`)
  console.log(formatTable([['a span of the seven hops', 'µs', 'in the rounds'], ...[...hops].map(([id, { median, min, max }]) =>
    [id, median.toFixed(2), `${min.toFixed(2)} – ${max.toFixed(2)}`])]))
  console.log(JSON.stringify({ isolation: {
    rounds, clients, goal,
    turns: Object.fromEntries(rows.map(({ id, rounds: done, off, on, share }) => [id, { rounds: done, without: rounded(off), with: rounded(on), share: rounded(share) }])),
    span: Object.fromEntries([...hops].map(([id, spread]) => [id, rounded(spread)]))
  } }))
}

function percent (share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

function rounded ({ median, min, max }: Spread): Spread {
  const round = (value: number): number => Number(value.toFixed(4))
  return { median: round(median), min: round(min), max: round(max) }
}
