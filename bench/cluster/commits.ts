import { createStoredEventLog } from '../../lib/events/stored-event-log.ts'
import { createStorage } from '../../lib/storage/open-storage.ts'
import type { Storage } from '../../lib/stores/storage.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { enterRun, openRuns, thinkingOf, type BenchRun } from './bench-runs.ts'

/** What one way to commit did in a round: events in a second, and what one append took, in ms. */
export interface Commits {
  readonly perSecond: number
  readonly medianMs: number
}

/** The two ways beside each other on the same database in the same round. */
export interface CommitRound {
  /** One transaction for each event, as many at once as there are threads. */
  readonly single: Commits
  /** The log as the service has it: what is handed in while a batch is written is the next batch. */
  readonly group: Commits
  /** One event after the other, nothing else going on: what a single commit takes. */
  readonly alone: Commits
}

/**
 * Appends to `threads` threads at once, each thread one event after the other as a run does, by groups and one by one. They take turns in
 * each round, so that what else the machine does meets both.
 */
export async function measureCommits (
  { databaseUrl, threads, seconds, rounds }: { databaseUrl: string | undefined, threads: number, seconds: number, rounds: number }
): Promise<readonly CommitRound[]> {
  const storage = await createStorage({ databaseUrl, poolSize: 16 })
  try {
    const runs = await openRuns(storage, threads)
    const measured: CommitRound[] = []
    await measureRound(storage, runs, seconds * 250)
    for (let round = 0; round < rounds; round += 1) measured.push(await measureRound(storage, runs, seconds * 1_000))
    return measured
  } finally {
    await storage.close()
  }
}

async function measureRound (storage: Storage, runs: readonly BenchRun[], ms: number): Promise<CommitRound> {
  const log = createStoredEventLog({ store: storage.events, epoch: storage.epoch, logger: silentLogger })
  const byLog = async (run: BenchRun): Promise<unknown> => await enterRun(run, async () => await log.append(thinkingOf(run), run.attempt))
  const bySelf = async (run: BenchRun): Promise<unknown> => await storage.events.append([{ event: thinkingOf(run), attempt: run.attempt }])
  try {
    return {
      single: await load(runs, ms, bySelf),
      group: await load(runs, ms, byLog),
      alone: await load(runs.slice(0, 1), ms / 4, bySelf)
    }
  } finally {
    await log.close()
  }
}

async function load (runs: readonly BenchRun[], ms: number, append: (run: BenchRun) => Promise<unknown>): Promise<Commits> {
  const took: number[] = []
  const start = performance.now()
  await Promise.all(runs.map(async (run) => {
    for (let now = performance.now(); now - start < ms; now = performance.now()) {
      await append(run)
      took.push(performance.now() - now)
    }
  }))
  const passed = performance.now() - start
  return { perSecond: took.length / passed * 1_000, medianMs: took.toSorted((one, other) => one - other)[took.length >> 1] ?? Number.NaN }
}
