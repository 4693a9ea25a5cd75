import fc from 'fast-check'
import t from 'tap'
import { anyAction } from '../support/conversations/actions.ts'
import { failureLine, readKeptFailures } from '../support/conversations/kept-failures.ts'
import { createPlannedAgent } from '../support/conversations/planned-agent.ts'
import { ActionCommand, runActions } from '../support/conversations/run-actions.ts'
import { maxWaiting } from '../support/conversations/send-message.ts'
import { startServer } from '../support/start-server.ts'

// kill: `release` of lib/gateway/connection.ts answers with nothing; `tellMissed` of lib/gateway/resume.ts begins one too early; `claim_next` takes
// the newest run first; `roll_back_message` deletes nothing; `vacate` of lib/gateway/thread-membership.ts moves nobody.

// FUZZ_RUNS=500 FUZZ_SEED=42 node test/properties/conversations.test.ts
const { FUZZ_RUNS: wantedRuns } = process.env
const numRuns = Number(wantedRuns ?? 120)
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)
/** A slow machine does less in it, and the search for the smallest failure ends with what was found by then. */
const limitMs = wantedRuns === undefined ? 75_000 : Math.max(75_000, numRuns * 2_000)

t.setTimeout(limitMs * 2)

const agent = createPlannedAgent()
const server = await startServer(t, {
  agents: [agent.agent],
  env: { MAX_WAITING_RUNS_PER_THREAD: maxWaiting, MAX_CONCURRENT_RUNS: 4 }
})

t.test('what once went wrong does not go wrong again', async (t) => {
  for (const { why, actions } of readKeptFailures()) {
    await t.resolves(runActions(actions.map((action) => new ActionCommand(action)), server, agent), why)
  }
})

t.test('D46 D47 E58 E59 E61 E71 G91 G92 whatever users do, each thread keeps its story whole, in order and its own', async (t) => {
  t.comment(`FUZZ_SEED=${seed} FUZZ_RUNS=${numRuns}`)
  const actions = fc.commands([anyAction().map((action) => new ActionCommand(action))], { maxCommands: 50, size: 'max', disableReplayLog: true })

  const result = await fc.check(fc.asyncProperty(actions, async (commands) => { await runActions(commands, server, agent) }), {
    numRuns, seed, plugins: [fc.unbiased(), fc.interruptAfterTimeLimit(limitMs)]
  })

  if (result.failed) t.comment(`to be kept in test/fixtures/failing-seeds.json:\n${failureLine(result)}`)
  const runs = `${result.numRuns} runs${result.interrupted ? ', and no time for more' : ''}`
  t.equal(result.failed, false, result.failed ? `${runs}: ${String(result.errorInstance)}` : runs)
  t.ok(result.failed || result.numRuns >= Math.min(numRuns, 5), runs)
})
