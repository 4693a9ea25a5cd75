import t from 'tap'
import { planRound, tellPlan } from '../support/cluster/histories/plan.ts'
import { planRounds, playRounds } from '../support/cluster/histories/play-rounds.ts'

t.setTimeout(290_000)

/*
 * A slice of `npm run histories`: always the same faults, and others each time. The seed is printed, and HISTORY_SEED=42 plays the others again.
 */
const fixedSeed = 20_261_123
const anySeed = Number(process.env['HISTORY_SEED'] ?? Date.now() % 2 ** 31)
const faults = 32
const needsBoth = { skip: ['TEST_DATABASE_URL', 'TEST_REDIS_URL'].some((name) => process.env[name] === undefined) && 'needs TEST_DATABASE_URL and TEST_REDIS_URL' }

for (const seed of [fixedSeed, anySeed]) {
  t.test(`people chat while ${faults} faults happen to the nodes: nothing is lost, doubled or crossed`, needsBoth, async (t) => {
    t.comment(`HISTORY_SEED=${seed}`)

    const rounds = await playRounds(planRounds({ seed, faults, processFaults: 0 }), (line) => { t.comment(line) })

    for (const { plan, problems, messages } of rounds) t.same(problems, [], `seed ${plan.seed}, ${plan.faults.length} faults, ${messages} messages`)
    t.equal(rounds.reduce((sum, { plan }) => sum + plan.faults.length, 0), faults)
    t.ok(rounds.every(({ messages }) => messages > 0), 'people have chatted')
  })
}

t.test('the faults of a round follow from its seed alone', async (t) => {
  const [first] = planRounds({ seed: 7, faults: 16, processFaults: 0 })

  t.same(first, planRound(7, { faults: 16 }), 'a round of many is the round that is played again')
  t.same(tellPlan(planRound(7, { faults: 16 })), tellPlan(planRound(7, { faults: 16 })))
  t.notSame(planRound(7, { faults: 16 }).faults, planRound(8, { faults: 16 }).faults)
  const plans = planRounds({ seed: 1, faults: 500, processFaults: 30 })
  t.equal(plans.reduce((sum, plan) => sum + plan.faults.length, 0), 500)
  t.equal(new Set(plans.flatMap((plan) => plan.faults.map(({ kind }) => kind))).size, 15, 'every kind is among them')
  t.notOk(plans.some(({ roles, faults }) => faults.some(({ kind, node }) => kind === 'clients-dropped' && roles[node] === 'worker')), 'none is a fault of nothing')
})
