import type { Finding } from '../verify/report.ts'
import type { Stage, StageOptions } from './stage.ts'
import type { SeenViolation } from './watch-violations.ts'

/** One line of the product that protects, and what it becomes when the protection is taken away. */
export interface Kill {
  /** The protection, in a few words. */
  readonly what: string
  /** From the project's root. */
  readonly file: string
  /** Occurs once in the file. */
  readonly line: string
  readonly becomes: string
}

/** A way in which an identity gets lost or crossed, to be switched on in a server that runs. */
export interface Fault {
  /** kebab-case. */
  readonly name: string
  /** What happens, as a sentence. */
  readonly title: string
  /** What the server needs for it: agents, tools, plugins, variables. */
  readonly stage?: StageOptions
  /** Lets real users meet it over real sockets. Throws only when the fault itself could not be produced. */
  provoke (stage: Stage): Promise<Provoked>
  /** The hop at which guard or verifier have to name it when the protection is gone. */
  readonly hop: string
  readonly kill: Kill
}

/** What became of a fault, as its users saw it. */
export interface Provoked {
  /** What one user was told, or could read, that is another's, or another thread's. A sentence each. */
  readonly delivered: readonly string[]
  /** What the server refused with an error. */
  readonly refused: readonly string[]
}

/** A fault with the witnesses' statements. */
export interface Observation extends Provoked {
  readonly fault: string
  /** Guard and inheritance check. */
  readonly violations: readonly SeenViolation[]
  readonly findings: readonly Finding[]
}

/** Which witnesses name the fault's hop. */
export function namedBy ({ hop }: Pick<Fault, 'hop'>, { violations, findings }: Pick<Observation, 'violations' | 'findings'>) {
  return {
    guard: violations.some((violation) => violation.hop === hop),
    verifier: findings.some((finding) => finding.hop === hop)
  }
}
