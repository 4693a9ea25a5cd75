import type { SayOptions } from '../stage-user.ts'
import type { Member } from './cast.ts'
import type { Lockstep, Roles } from './lockstep.ts'

/** What happens to whom in a round, in which all members write at once. */
interface Round {
  readonly what: string
  /** Every other thread's part; nothing special without it. */
  readonly role?: keyof Roles
  /** All write the same words. */
  readonly sameWords?: true
}

const rounds: readonly Round[] = [
  { what: 'all at once' },
  { what: 'all at once, with the same words', sameWords: true },
  { what: 'while others are stopped', role: 'stopped' },
  { what: 'while others fail', role: 'failing' },
  { what: 'while others are consumed late', role: 'late' }
]

export interface RoundOptions {
  readonly agent: string
  readonly content: (words: string) => string
  readonly lockstep: Lockstep
  /** Resolves when the first step of the thread's next run, or its first tool, is over. */
  readonly midway: (threadId: string) => Promise<void>
}

/** Lets the cast write in each of the rounds; resolves with what went wrong, a sentence each, and how many runs there were. */
export async function playRounds (cast: readonly Member[], options: RoundOptions): Promise<{ problems: readonly string[], runs: number }> {
  const problems: string[] = []
  for (const round of rounds) problems.push(...await playRound(round, cast, options))
  return { problems, runs: rounds.length * cast.length }
}

async function playRound ({ what, role, sameWords }: Round, cast: readonly Member[], options: RoundOptions): Promise<readonly string[]> {
  const { agent, content, lockstep, midway } = options
  const special = new Set(cast.filter((_member, index) => role !== undefined && index % 2 === 1).map(({ threadId }) => threadId))
  lockstep.begin(cast.length, role === undefined ? {} : { [role]: special })
  const problems = await Promise.all(cast.map(async (member) => {
    const { tab, userId, threadId, marker } = member
    const isSpecial = special.has(threadId)
    const reached = midway(threadId)
    const accepted = Promise.withResolvers<string>()
    const ended = say(member, content(sameWords === true ? 'What everybody asks' : marker), { agent, accepted: accepted.resolve })
    if (role === 'stopped' && isSpecial) {
      // An agent that a model drives has no steps that could be seen, but says something. Whoever ends before is not stopped any more.
      const speaks = accepted.promise.then((runId) => tab.until((event) => event.type === 'agent_delta' && event.run_id === runId)).catch(() => ended)
      await Promise.race([reached, speaks, ended])
      tab.send({ type: 'stop_agent', payload: {} })
    }
    const status = await ended
    return isExpected(status, isSpecial ? role : undefined) ? [] : [`A run of ${userId} ${status}, ${what}`]
  }))
  return problems.flat()
}

function isExpected (status: string, role: keyof Roles | undefined): boolean {
  if (status === 'completed') return true
  return (role === 'stopped' && status === 'cancelled') || (role === 'failing' && status.startsWith('failed'))
}

/** How the run ended, or why it is not known. */
async function say ({ tab }: Member, content: string, options: SayOptions): Promise<string> {
  try {
    const { payload } = await tab.say(content, options)
    return payload.status === 'failed' ? `failed (${payload.error?.code ?? payload.reason ?? 'without a reason'})` : payload.status
  } catch (error) {
    return `did not end: ${error instanceof Error ? error.message : String(error)}`
  }
}
