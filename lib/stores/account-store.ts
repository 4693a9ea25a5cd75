import type { RunId, ThreadId } from '../protocol/ids.ts'

export interface Usage {
  readonly threads: number
  readonly messages: number
  readonly runs: number
  /** Tokens of everything that models were asked in the user's name, by model. */
  readonly models: ReadonlyArray<{ readonly model: string, readonly inputTokens: number, readonly outputTokens: number }>
}

/** What was erased. */
export type Erased = Readonly<Record<'threads' | 'messages' | 'runs' | 'events', number>>

/** All that is kept of the active user. */
export interface AccountStore {
  usage (): Promise<Usage>
  /** Tokens that a model was asked for in the user's name beside the steps of a run: for a title. */
  recordUsage (usage: { runId: RunId, threadId: ThreadId, model: string, inputTokens: number, outputTokens: number }): Promise<void>
  /** Removes every row of the user from every table, at once and for good. Runs that still go on cannot store anything any more. */
  erase (): Promise<Erased>
}
