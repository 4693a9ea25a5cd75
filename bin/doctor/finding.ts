export type Outcome = 'ok' | 'warning' | 'failed'

/** What one check has found. No part of it ever holds a password or a key. */
export interface Finding {
  /** The name of what was checked, such as `Clocks`. */
  readonly check: string
  readonly outcome: Outcome
  readonly message: string
  /** What to do about it. */
  readonly advice?: string | undefined
}

/** Findings of one check, which name it once. */
export interface Findings {
  readonly ok: (message: string) => Finding
  readonly warning: (message: string, advice: string) => Finding
  readonly failed: (message: string, advice: string) => Finding
}

export function findingsOf (check: string): Findings {
  return {
    ok: (message) => ({ check, outcome: 'ok', message }),
    warning: (message, advice) => ({ check, outcome: 'warning', message, advice }),
    failed: (message, advice) => ({ check, outcome: 'failed', message, advice })
  }
}
