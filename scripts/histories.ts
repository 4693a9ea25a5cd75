/**
 * Plays rounds in which nodes of a cluster crash, are drained, are cut off from Postgres and Redis, and lose, double, delay and reorder what they tell each
 * other, while people chat; then it checks everything that clients have sent and seen. All faults follow from the seed, which is printed.
 *
 *   npm run histories                                  500 faults with a seed of the clock
 *   npm run histories -- --faults 60 --seed 7          so many, with this seed
 *   npm run histories -- --replay 7 --faults 16        the one round that has this seed; --processes for one of processes
 *
 * It needs TEST_DATABASE_URL and TEST_REDIS_URL. Ends with 1 when anything is lost, doubled or crossed.
 */
import { parseArgs } from 'node:util'
import t from 'tap'
import { planRound } from '../test/support/cluster/histories/plan.ts'
import { planRounds, playRounds } from '../test/support/cluster/histories/play-rounds.ts'

// What clients receive is also compared with the protocol's schemas, by support that tells tap; it takes longer than tap would wait.
t.setTimeout(0)

const { values } = parseArgs({
  options: {
    faults: { type: 'string' }, seed: { type: 'string' }, replay: { type: 'string' }, processes: { type: 'boolean', default: false }
  }
})
const faults = Number(values.faults ?? (values.replay === undefined ? 500 : 16))
const seed = Number(values.replay ?? values.seed ?? Date.now() % 2 ** 31)

for (const [variable, what] of [['TEST_DATABASE_URL', 'a server whose role may create databases'], ['TEST_REDIS_URL', 'a Redis, which some rounds have beside it']] as const) {
  if (process.env[variable] !== undefined) continue
  console.error(`${variable} is not set: export ${variable}=… of ${what}`)
  process.exit(2)
}
const plans = values.replay === undefined
  ? planRounds({ seed, faults, processFaults: Math.round(faults * 0.06) })
  : [planRound(seed, { faults, processes: values.processes })]
const startedAt = performance.now()
const rounds = await playRounds(plans, (line) => { console.log(line) })
const violated = rounds.filter(({ problems }) => problems.length > 0).map(({ plan }) => plan.seed)
console.log(JSON.stringify({
  seed,
  faults: rounds.reduce((sum, { plan }) => sum + plan.faults.length, 0),
  rounds: rounds.length,
  messages: rounds.reduce((sum, { messages }) => sum + messages, 0),
  resumed: rounds.reduce((sum, { resumed }) => sum + resumed, 0),
  reconnects: rounds.reduce((sum, { reconnects }) => sum + reconnects, 0),
  seconds: Math.round((performance.now() - startedAt) / 1_000),
  violated
}))
process.exit(violated.length === 0 ? 0 : 1) // see test/support/cluster/end-of-process.ts
