import { readFileSync } from 'node:fs'
import type fc from 'fast-check'
import type { Action } from './actions.ts'

/**
 * What once went wrong, in the product or in one that was broken to see this test fail. The actions are what is done again: with a new
 * kind of action, a seed would mean something else. Seed and path say where they came from.
 */
export interface KeptFailure {
  readonly why: string
  readonly seed: number
  readonly path: string
  readonly actions: readonly Action[]
}

export function readKeptFailures (): readonly KeptFailure[] {
  const file = new URL('../../fixtures/failing-seeds.json', import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')) as readonly KeptFailure[] // lines that `failureLine` has written
}

/** The line that keeps a failure, when it is put into `test/fixtures/failing-seeds.json`. */
export function failureLine ({ seed, counterexample, counterexamplePath, errorInstance }: fc.RunDetails<unknown>): string {
  const [commands] = (counterexample ?? ['']) as readonly [{ toString (): string }] // the only argument of the property
  // Of its commands fast-check prints those that were done, each as its `toString` gives it.
  const actions = JSON.parse(`[${commands.toString()}]`) as readonly Action[]
  const [why = ''] = String(errorInstance).split('\n')
  return JSON.stringify({ why, seed, path: counterexamplePath ?? '', actions } satisfies KeptFailure)
}
