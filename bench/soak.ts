/**
 * Many users in many threads at the same time, over real sockets and from another process, and then the question whether anything
 * went to the wrong one: a marker, an event, a span, a row; and whether everybody's leaving leaves nothing behind.
 *
 *   npm run soak -- --users 200 --threads 2
 *
 * On the database that `DATABASE_URL` names, else on the embedded one in memory. Prints what was counted, ends with one line of JSON, and
 * with exit code 1 when anything is off.
 */
import { parseArgs } from 'node:util'
import { checkObservations, checkSockets, checkStorage } from './support/check-chats.ts'
import { checkTraces } from './support/check-traces.ts'
import { giveUpAfter, readCount } from './support/command-line.ts'
import { Findings } from './support/findings.ts'
import { createGatheringAgent } from './support/gathering-agent.ts'
import { keepSpans } from './support/kept-spans.ts'
import { readHoldings, readLoad, settle } from './support/live-state.ts'
import { startProgram } from './support/program.ts'
import type { ChatRecord, SoakClients } from './support/soak-clients.ts'
import { startSoakServer, type SoakServer } from './support/soak-server.ts'
import { formatTable } from './support/table.ts'

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '200' },
    threads: { type: 'string', default: '2' },
    timeout: { type: 'string', default: '240' }
  }
})
const users = readCount('users', values['users'])
const threads = readCount('threads', values['threads'])
const timeoutSeconds = readCount('timeout', values['timeout'])

/** In ms. How long what was opened may take to be gone, an idle connection to a database server included. */
const settleTimeoutMs = 30_000
const shownProblems = 20
const agentName = 'gatherer'

const spans = keepSpans()
const agent = createGatheringAgent(agentName)
const limit = new AbortController()
let phase = 'starting'
let socketsAtOnce = 0

try {
  await Promise.race([soak(), giveUpAfter(timeoutSeconds, limit)])
} catch (error) {
  console.error(`soak: while ${phase}: ${error instanceof Error ? error.stack ?? error.message : String(error)}`)
  console.log(JSON.stringify({ soak: { ok: false, users, threads, phase } }))
  process.exitCode = 1
}
limit.abort()
// What hangs must not keep the process: that it does has been counted.
setTimeout(() => { process.exit() }, 5000).unref()

async function soak (): Promise<void> {
  const startedAt = performance.now()
  const server = await startSoakServer({ agent: agent.agent, runs: users * threads })
  try {
    await serve(server, namesOfChats(1, 1))
    await settle(server.app, settleTimeoutMs)
    const before = readHoldings(server.app)
    spans.forget()

    const chats = await serve(server, namesOfChats(users, threads))
    phase = 'waiting for everything to be gone'
    await settle(server.app, settleTimeoutMs, before)
    const after = readHoldings(server.app)
    const load = readLoad(server.app)

    phase = 'checking'
    const findings = new Findings()
    findings.count('sockets at the same time', users * threads, socketsAtOnce)
    findings.count('runs at the same time', users * threads, agent.peak)
    checkSockets(chats, findings)
    checkObservations(agent.observations, chats, findings)
    checkTraces(spans.byTrace().values(), chats, findings)
    await checkStorage(server.app, chats, findings)
    findings.count('violations of the guard', 0, server.violations.length)
    findings.none('complaints in the log', server.complaints, (line) => line)
    for (const [name, count] of Object.entries(load)) findings.count(`afterwards: ${name}`, 0, count)
    for (const [name, count] of Object.entries(after)) findings.countAtMost(`afterwards: ${name}`, before[name] ?? 0, count)
    report(findings, chats, performance.now() - startedAt)
  } finally {
    await server.close()
  }
}

/** Lets these users chat from a process of their own, all at once; they have left when this resolves. */
async function serve (server: SoakServer, chatting: readonly string[]): Promise<readonly ChatRecord[]> {
  agent.expect(chatting.length)
  const clients = startProgram<SoakClients>(new URL('support/soak-clients.ts', import.meta.url), { signal: limit.signal })
  const chats = await Promise.all(chatting.map(async (user) => ({ user, token: await server.sign(user) })))
  phase = `opening ${chats.length} sockets`
  await clients.ask('open', { url: server.socketUrl, agent: agentName, chats })
  socketsAtOnce = server.app.gateway.load.connections
  phase = `running ${chats.length} runs`
  await clients.ask('talk', undefined)
  phase = 'closing the sockets'
  const records = await clients.ask('close', undefined)
  await clients.end()
  return records
}

/** A user for each chat. Their names are new, because a database server may remember those of an earlier soak. */
function namesOfChats (users: number, threads: number): readonly string[] {
  const soak = crypto.randomUUID()
  return Array.from({ length: users * threads }, (_, index) => `soak-${soak}-${index % users}`)
}

function report (findings: Findings, chats: readonly ChatRecord[], durationMs: number): void {
  const { counts, problems } = findings
  const traces = [...spans.byTrace().values()]
  const volume = {
    frames: chats.reduce((sum, { frames }) => sum + frames, 0),
    bytes: chats.reduce((sum, { bytes }) => sum + bytes, 0),
    traces: traces.length,
    spans: traces.reduce((sum, trace) => sum + trace.length, 0)
  }
  const database = process.env['DATABASE_URL'] ? 'server' : 'embedded'
  console.log(`${users} users with ${threads} threads each, ${database} database, ${(durationMs / 1000).toFixed(1)} s; ` +
    `looked at ${volume.frames} frames (${volume.bytes} bytes) and ${volume.spans} spans in ${volume.traces} traces\n`)
  console.log(formatTable([['', 'expected', 'seen', ''], ...counts.map(({ name, wanted, seen, ok }) =>
    [name, wanted, String(seen), ok ? 'ok' : 'OFF'])]))
  console.log(problems.length === 0 ? '\nEverything is where it belongs.' : `\n${problems.length} problems:`)
  for (const problem of problems.slice(0, shownProblems)) console.log(`- ${problem.slice(0, 400)}`)
  if (problems.length > shownProblems) console.log(`- and ${problems.length - shownProblems} more`)
  if (problems.length > 0) process.exitCode = 1

  const seen = Object.fromEntries(counts.map((count) => [count.name, count.seen]))
  console.log(JSON.stringify({ soak: { ok: problems.length === 0, users, threads, database, durationMs: Math.round(durationMs), ...volume, seen } }))
}
