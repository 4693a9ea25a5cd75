import type { Report, TraceReport } from '../report.ts'

/** What became of a verification, when every trace has been told. */
export interface Outcome {
  readonly report: Report
  /** What sources could not read, a sentence each. */
  readonly problems: readonly string[]
  /** What sources have to say beside that. */
  readonly notes: readonly string[]
  /** 0 clean, 1 findings, 2 could not check. */
  readonly exitCode: number
}

/** A format. What the methods return is written one after the other, and is whole then. */
export interface Output {
  /** Is given each trace once, as soon as it is verified. */
  trace (report: TraceReport): string
  end (outcome: Outcome): string
}

export interface OutputOptions {
  /** How many findings are told; of the rest, their number. */
  readonly maxFindings: number
  /** Where the documents of the rules are, with a slash at the end; `docs/rules/` of the project without it. */
  readonly docsUrl?: string | undefined
}
