import { createCounter } from '../context/instruments.ts'
import type { Logger } from '../context/logger.ts'
import { metricDefinitions } from '../context/metric-definitions.ts'
import { isRunId, isThreadId, isUserId } from '../protocol/ids.ts'

/** The ids in a row of a run, as they are. */
export interface NamedRun {
  readonly user_id: string
  readonly thread_id: string
  readonly run_id: string
}

export interface UnreadableRunsOptions {
  readonly logger?: Logger | undefined
  /** How long they are passed over without being asked for; after that they may have been put right, or are told of once more. */
  readonly forgetMs?: number
}

/** More than these nobody has, but for somebody who wants to be in the way. */
const maxKept = 1_000

const refused = createCounter(metricDefinitions.refusedSignatures)

/**
 * Unfinished runs that nobody can work on, because an id in their row is none of ours: somebody has written it past the service. No identity can be entered for them, not even to
 * end them, so they stay as they are, and whoever asks for runs of everybody passes them over. Each is counted as a run that no node of ours has
 * signed, and what there is of them is told in one line.
 */
export class UnreadableRuns {
  readonly #options: Required<UnreadableRunsOptions>
  readonly #users = new Set<string>()
  readonly #threads = new Set<string>()
  #forgottenAt = performance.now()
  #isTold = false

  constructor ({ logger, forgetMs = 600_000 }: UnreadableRunsOptions = {}) {
    this.#options = { logger, forgetMs }
  }

  /** Users, and threads of other users, that need not be asked for. */
  get users (): readonly string[] { return [...this.#users] }
  get threads (): readonly string[] { return [...this.#threads] }

  /** How many of both are remembered. */
  get size (): number { return this.#users.size + this.#threads.size }

  forgetOld (): void {
    if (performance.now() - this.#forgottenAt < this.#options.forgetMs) return
    this.#forgottenAt = performance.now()
    this.#users.clear()
    this.#threads.clear()
    this.#isTold = false
  }

  /** Those of the rows that can be worked on. */
  passOver<Row extends NamedRun> (rows: readonly Row[]): readonly Row[] {
    const unreadable = rows.filter((row) => !isReadable(row))
    for (const row of unreadable) this.#keep(row)
    if (unreadable.length > 0) this.#tell(unreadable)
    return unreadable.length === 0 ? rows : rows.filter(isReadable)
  }

  #keep ({ user_id: userId, thread_id: threadId }: NamedRun): void {
    refused.add(1, { audience: 'run', reason: 'malformed' })
    if (this.size >= maxKept) return
    if (isUserId(userId)) this.#threads.add(threadId)
    else this.#users.add(userId)
  }

  #tell ([first]: readonly NamedRun[]): void {
    if (this.#isTold) return
    this.#isTold = true
    this.#options.logger?.error({ thread_id: first?.thread_id }, 'Runs are passed over whose ids are none of ours: somebody has written them past the service. They are counted from now on, and stay until their rows are deleted')
  }
}

function isReadable ({ user_id: userId, thread_id: threadId, run_id: runId }: NamedRun): boolean {
  return isUserId(userId) && isThreadId(threadId) && isRunId(runId)
}
