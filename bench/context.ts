/**
 * What identity and spans cost: CPU of the server per message, for servers that do more and more of what Threadline does.
 *
 *   npm run bench:context -- --rounds 5 --seconds 2
 *   npm run bench:context -- --only c,d10
 *
 * Each server is a process of its own; the clients are in this one and are not counted. All servers stay up and take turns in each
 * round, so that a noisy machine is as noisy for one as for the other. The ratios, to the bare echo of the same round, are what
 * counts. Ends with one line of JSON.
 */
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import type { ServerEvent } from '../lib/protocol/events.ts'
import { readCount, runBench } from './support/command-line.ts'
import type { MeasuredServer, ServerAddress } from './support/measured-server.ts'
import { startProgram, type Program } from './support/program.ts'
import { openLoad, type LoadOptions, type SocketLoad } from './support/socket-load.ts'
import { spreadOf, type Spread } from './support/statistics.ts'
import { formatTable } from './support/table.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string' },
    timeout: { type: 'string', default: '180' }
  }
})
const rounds = readCount('rounds', values['rounds'])
const roundMs = readCount('seconds', values['seconds']) * 1000
const timeoutSeconds = readCount('timeout', values['timeout'])

const clients = 32
const calibrationMs = 1000
const frame = JSON.stringify({ type: 'user_message', payload: { content: 'How much does it cost to know whom one serves?' } })

interface Variant {
  readonly id: string
  readonly title: string
  readonly program: string
  readonly args?: readonly string[]
  /** Rounds of this many times the length: for slow messages, so that there are enough of them. */
  readonly share?: number
  readonly isAnswer: LoadOptions['isAnswer']
}

const isEcho = (text: string): boolean => text === frame

const only = values['only']?.split(',')
const allVariants: readonly Variant[] = [
  { id: 'a', title: 'bare ws echo', program: 'bare-echo', isAnswer: isEcho },
  { id: 'b', title: '@fastify/websocket echo', program: 'fastify-echo', isAnswer: isEcho },
  { id: 'c', title: 'b, identity entered and read 3 times', program: 'identity-echo', isAnswer: isEcho },
  { id: 'd10', title: 'c, seven spans, 10 % sampled', program: 'spans-echo', args: ['0.1'], isAnswer: isEcho },
  { id: 'd100', title: 'c, seven spans, 100 % sampled', program: 'spans-echo', args: ['1'], isAnswer: isEcho },
  { id: 'e', title: 'durable turn', program: 'durable-turn', share: 2, isAnswer: isEndOfRun }
]
/** With `a` in any case, to which the others are compared. */
const variants = allVariants.filter(({ id }) => only === undefined || id === 'a' || only.includes(id))

interface Running {
  readonly variant: Variant
  readonly server: Program<MeasuredServer>
  readonly address: ServerAddress
  /** The same in each round. */
  readonly messages: number
}

/** µs of CPU per message in one round, by row of the table. */
type Round = ReadonlyMap<string, number>

const limit = new AbortController()

await runBench(bench, timeoutSeconds, limit)

async function bench (): Promise<void> {
  const running: Running[] = []
  for (const variant of variants) running.push(await start(variant))
  const fitting = await warmUp(running)
  const measured: Round[] = []
  for (let round = 1; round <= rounds; round += 1) measured.push(await measureRound(fitting))
  await Promise.all(running.map(({ server }) => server.end()))
  report(fitting, measured)
}

/** A round that is not counted. When it was too slow for the time limit, the others have fewer messages. */
async function warmUp (running: readonly Running[]): Promise<readonly Running[]> {
  const startedAt = performance.now()
  await measureRound(running)
  const endedAt = performance.now()
  const fits = (timeoutSeconds * 1000 - endedAt) / ((endedAt - startedAt) * rounds)
  return running.map((one) => ({ ...one, messages: Math.ceil(one.messages * Math.min(1, fits * 0.8)) }))
}

async function start (variant: Variant): Promise<Running> {
  const file = new URL(`servers/${variant.program}.ts`, import.meta.url)
  const server = startProgram<MeasuredServer>(file, { signal: limit.signal, args: variant.args ?? [] })
  const address = await server.ask('start', undefined)
  const perMs = await withLoad(variant, address, calibrate)
  return { variant, server, address, messages: Math.ceil(perMs * roundMs * (variant.share ?? 1)) }
}

/** How many messages this server answers in a millisecond. */
async function calibrate (load: SocketLoad): Promise<number> {
  const startedAt = performance.now()
  let exchanged = 0
  while (performance.now() - startedAt < calibrationMs) {
    await load.exchange(clients * 4)
    exchanged += clients * 4
  }
  return exchanged / (performance.now() - startedAt)
}

async function measureRound (running: readonly Running[]): Promise<Round> {
  const measured = new Map<string, number>()
  for (const { variant, server, address, messages } of running) {
    await withLoad(variant, address, async (load) => {
      // Wakes up what has slept since its last turn.
      await load.exchange(Math.ceil(messages / 10))
      const before = await server.ask('cpu', undefined)
      await load.exchange(messages)
      const after = await server.ask('cpu', undefined)
      measured.set(variant.id, (after.process - before.process) / messages)
      if (variant.id !== 'e' || after.withChildren === undefined || before.withChildren === undefined) return
      measured.set('e+', (after.withChildren - before.withChildren) / messages)
    })
  }
  return measured
}

/** With sockets of its own, each of which has been answered once, so that a handshake is not counted. */
async function withLoad<T> ({ isAnswer }: Variant, address: ServerAddress, work: (load: SocketLoad) => Promise<T>): Promise<T> {
  const load = await openLoad(address, { clients, frame, isAnswer })
  await load.exchange(clients)
  const result = await work(load)
  await load.close()
  return result
}

function isEndOfRun (text: string): boolean {
  const { type, payload } = JSON.parse(text) as ServerEvent // what Threadline sends
  if (type === 'error' || ('status' in payload && payload.status !== 'completed')) throw new Error(`A turn went wrong: ${text}`)
  return type === 'agent_completed'
}

function report (running: readonly Running[], measured: readonly Round[]): void {
  const titles = new Map([
    ...variants.map(({ id, title }) => [id, id === 'e' ? `${title}, the server's process` : title] as const),
    ['e+', 'the same, with the database\'s process'] as const
  ])
  const rows = [...titles].filter(([id]) => measured.every((round) => round.has(id)))
    .map(([id, title]) => ({ id, title, cost: spreadOf(measured.map((round) => costIn(round, id))), ratio: ratiosOf(measured, id) }))

  console.log(`CPU of the server per message, user and system; ${clients} clients, medians of ${rounds} rounds; ` +
    `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n`)
  console.log(formatTable([['', 'µs', 'ratio to a', 'in the rounds'], ...rows.map(({ id, title, cost, ratio }) =>
    [id.padEnd(5) + title, cost.median.toFixed(1), ratio.median.toFixed(2), `${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}`])]))
  if (titles.has('e')) console.log('\ne: the whole service, with an embedded database in memory and an agent that answers with one text; one user per client; spans are recorded for the check of inheritance, and not exported')

  const messages = Object.fromEntries(running.map(({ variant, messages }) => [variant.id, messages]))
  const figures = Object.fromEntries(rows.map(({ id, cost, ratio }) => [id, { microseconds: rounded(cost), ratio: rounded(ratio) }]))
  console.log(JSON.stringify({ context: { rounds, clients, messages, variants: figures } }))
}

function ratiosOf (measured: readonly Round[], id: string): Spread {
  return spreadOf(measured.map((round) => costIn(round, id) / costIn(round, 'a')))
}

function costIn (round: Round, id: string): number {
  return round.get(id) ?? Number.NaN
}

function rounded ({ median, min, max }: Spread): Spread {
  const round = (value: number): number => Number(value.toFixed(2))
  return { median: round(median), min: round(min), max: round(max) }
}
