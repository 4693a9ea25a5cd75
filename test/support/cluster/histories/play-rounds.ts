import { planRound, tellPlan, type Plan } from './plan.ts'
import { playRound, type Played } from './play-round.ts'

export interface Rounds {
  readonly seed: number
  readonly faults: number
  /** How many of the faults happen to processes. */
  readonly processFaults: number
}

const faultsPerRound = 16
const faultsPerProcessRound = 10
/** Rounds that are played at the same time: while one waits for a lease, the other one works. */
const atOnce = 2

/** The rounds that a seed gives: each has a seed of its own, by which it can be played alone. */
export function planRounds ({ seed, faults, processFaults }: Rounds): readonly Plan[] {
  const plans: Plan[] = []
  const add = (count: number, perRound: number, processes: boolean): void => {
    for (let left = count; left > 0; left -= perRound) {
      plans.push(planRound(seed + plans.length, { faults: Math.min(left, perRound), processes }))
    }
  }
  add(processFaults, faultsPerProcessRound, true)
  add(faults - processFaults, faultsPerRound, false)
  return plans
}

/** Plays them, and tells each one when it is over. */
export async function playRounds (plans: readonly Plan[], tell: (line: string) => void): Promise<readonly Played[]> {
  const waiting = [...plans]
  const played: Played[] = []
  const work = async (): Promise<void> => {
    for (let plan = waiting.shift(); plan !== undefined; plan = waiting.shift()) {
      const round = await playRound(plan)
      played.push(round)
      tellRound(round, tell)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return played
}

function tellRound ({ plan, problems, messages, resumed, reconnects, said }: Played, tell: (line: string) => void): void {
  tell(`${tellPlan(plan)}: ${messages} messages, ${resumed} runs went on, ${reconnects} times a client came back`)
  if (problems.length === 0) return
  tell(`VIOLATED with seed ${plan.seed}; again: npm run histories -- --replay ${plan.seed}${plan.processes ? ' --processes' : ''} --faults ${plan.faults.length}`)
  for (const problem of problems) tell(`  ${problem}`)
  for (const line of said) tell(`    ${line}`)
}
