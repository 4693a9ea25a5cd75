import { violationChannel, type Violation } from '../../lib/context/guard.ts'

interface Test {
  teardown (fn: () => void): void
}

/** What the guard refuses from now on, until the end of the test. */
export function watchViolations (t: Test): readonly Violation[] {
  const violations: Violation[] = []
  const note = (violation: unknown): void => { violations.push(violation as Violation) } // the channel carries nothing else
  violationChannel.subscribe(note)
  t.teardown(() => { violationChannel.unsubscribe(note) })
  return violations
}
