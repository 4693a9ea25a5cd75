import { setTimeout as delay } from 'node:timers/promises'
import type { Finding } from '../verify/report.ts'
import { findCrossed, gatherCast, type Member } from './isolation/cast.ts'
import { Gathering } from './isolation/gathering.ts'
import { Lockstep } from './isolation/lockstep.ts'
import type { Observer } from './isolation/observe.ts'
import { playRounds } from './isolation/rounds.ts'
import { stageSubject, type IsolationSubject } from './isolation/subject.ts'
import { openStage, type Stage, type StageOptions } from './stage.ts'
import type { SeenViolation } from './watch-violations.ts'

export interface IsolationOptions {
  /** How many users there are, each with two threads and four tabs; 4 without it. */
  readonly users?: number
  /** What a user writes to the agent, with the words that belong to it alone; the words themselves without it. */
  readonly content?: (words: string) => string
  /** What the tool is called with; made from its schema without it, with the words in every text. */
  readonly input?: (words: string) => unknown
  /** What each thread's user does besides, such as a request to a plugin's route. What it resolves with must hold nothing of another's. */
  readonly visit?: (visitor: Visitor) => Promise<unknown>
  /** What the code needs beside itself: agents, models, plugins, variables. */
  readonly stage?: StageOptions
}

/** A user in one of its threads. */
export interface Visitor {
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  readonly token: string
  readonly userId: string
  readonly threadId: string
  /** Belongs to this thread alone. */
  readonly words: string
}

export interface IsolationReport {
  readonly passed: boolean
  /** A sentence each, none twice; they name whose work it was and, where it is known, the hop. */
  readonly problems: readonly string[]
  readonly runs: number
  /** Steps of the code that were looked at. */
  readonly steps: number
  readonly violations: readonly SeenViolation[]
  readonly findings: readonly Finding[]
}

/** Thrown by `assertIsolated`. */
export class IsolationError extends Error {
  override readonly name = 'IsolationError'
  readonly report: IsolationReport

  constructor (title: string, report: IsolationReport) {
    super([`${title} does not keep its users apart:`, ...report.problems].join('\n- '))
    this.report = report
  }
}

/** How long whatever has to end may take after everybody is done, in ms. */
const quietMs = 5_000
/** How long a request may take, in ms. */
const visitMs = 20_000

/**
 * Lets an agent, a tool or a plugin serve many users at once on a real server, step by step together, stopped, failing and consumed late,
 * and tells everything that was not as it should be: whether anybody was told what is another's, and what guard, inheritance check and
 * verifier say. Takes some seconds. Rejects only when the server does not start. One at a time in a process.
 */
export async function testIsolation (subject: IsolationSubject, options: IsolationOptions = {}): Promise<IsolationReport> {
  const { users = 4, content = (words) => words, input, visit } = options
  const seen = createObserver()
  const staging = stageSubject(subject, seen.observer, { stage: options.stage ?? {}, input })
  const stage = await openStage(staging.stage)
  try {
    const forget = stage.app.engine.onEnded(({ run }) => { seen.observer.lockstep.leave(run.runId) })
    const cast = await gatherCast(stage, users)
    const { lockstep } = seen.observer
    const played = await playRounds(cast, { agent: staging.agent, content, lockstep, midway: seen.midway })
    seen.observer.requests.begin(cast.length)
    const visited = await Promise.all(cast.map(async (member) => await visitAs(member, cast, stage, visit)))
    const crossed = await findCrossed(stage, cast)
    seen.observer.requests.begin(1)
    forget()
    const remains = await findRemains(stage, cast, seen.observer)
    const { findings, incomplete } = await stage.verify()
    const problems = [
      ...played.problems, ...visited.flat(), ...crossed, ...seen.wrong, ...stage.violations.map(sentenceOf),
      ...findings.map(({ rule, hop, message }) => `${rule} at ${hop ?? 'no hop'}: ${message}`), ...incomplete, ...remains
    ]
    return {
      passed: problems.length === 0,
      problems: [...new Set(problems)],
      runs: played.runs,
      steps: seen.steps(),
      violations: stage.violations,
      findings
    }
  } finally {
    await stage.close()
  }
}

/** The same, for whoever wants an error: throws an `IsolationError` that tells all problems. */
export async function assertIsolated (subject: IsolationSubject, options?: IsolationOptions): Promise<IsolationReport> {
  const report = await testIsolation(subject, options)
  if (!report.passed) throw new IsolationError(typeof subject === 'function' ? 'The plugin' : subject.name, report)
  return report
}

function createObserver () {
  const wrong: string[] = []
  const midway = new Map<string, PromiseWithResolvers<void>>()
  let steps = 0
  const observer: Observer = {
    lockstep: new Lockstep(),
    requests: new Gathering(),
    going: new Set(),
    stepped ({ threadId }) {
      steps += 1
      midway.get(threadId)?.resolve()
    },
    wrong (sentence) { wrong.push(sentence) }
  }
  return {
    observer,
    wrong,
    steps: () => steps,
    midway: (threadId: string): Promise<void> => {
      const reached = Promise.withResolvers<void>()
      midway.set(threadId, reached)
      return reached.promise
    }
  }
}

function sentenceOf ({ place, hop = place, witness, kind, owner, identity }: SeenViolation): string {
  const lost = `${owner.userId}'s work went on without ${identity === undefined ? 'an identity' : 'its thread or run'}`
  const crossed = identity?.userId === owner.userId ? `${owner.userId}'s work went on in another thread or run` : `${owner.userId}'s work went on as ${identity?.userId ?? 'nobody'}`
  return `${kind === 'lost' ? lost : crossed}, which the ${witness} noticed at ${hop}`
}

async function visitAs (member: Member, cast: readonly Member[], stage: Stage, visit: IsolationOptions['visit']): Promise<readonly string[]> {
  const { userId, threadId, marker: words, tab: { token } } = member
  const ask = async (path: string): Promise<string> => {
    const response = await fetch(`${stage.url}${path}`, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(visitMs) })
    return await response.text()
  }
  const found = await Promise.allSettled([
    ask('/v1/threads'), ask(`/v1/threads/${threadId}/messages`), ask('/v1/me'),
    visit?.({ url: stage.url, token, userId, threadId, words })
  ])
  return found.flatMap((outcome) => {
    if (outcome.status === 'rejected') return [`A visit of ${userId} failed: ${String(outcome.reason)}`]
    const text = JSON.stringify(outcome.value) ?? ''
    return cast
      .filter((other) => other.userId !== userId && [other.userId, other.threadId, other.marker].some((secret) => text.includes(secret)))
      .map((other) => `A request of ${userId} was answered with what is ${other.userId}'s`)
  })
}

/** What is still there when everybody has left. */
async function findRemains ({ app }: Stage, cast: readonly Member[], { going }: Observer): Promise<readonly string[]> {
  await Promise.all(cast.flatMap(({ tab, secondTab }) => [tab.leave(), secondTab.leave()]))
  const live = (): number => going.size + sumOf(app.engine.load) + app.gateway.load.connections + app.gateway.load.followedThreads
  const until = performance.now() + quietMs
  while (live() > 0 && performance.now() < until) await delay(5)
  const remains = [...going].map((name) => `${name}, has not ended`)
  if (sumOf(app.engine.load) > 0) remains.push(`The engine still holds ${JSON.stringify(app.engine.load)}`)
  if (app.gateway.load.connections + app.gateway.load.followedThreads > 0) remains.push(`The gateway still holds ${JSON.stringify(app.gateway.load)}`)
  return remains
}

function sumOf (load: Readonly<Record<string, number>>): number {
  return Object.values(load).reduce((sum, value) => sum + value, 0)
}
