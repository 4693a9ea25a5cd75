import type { Notices } from '../../verify/sources/notices.ts'

export interface CollectedNotices extends Notices {
  readonly problems: readonly string[]
  readonly notes: readonly string[]
}

/** How many are kept of each; a directory may have more files than anybody reads about. */
const maxKept = 1000

/** Each sentence once, in the order in which they came. */
export function collectNotices (): CollectedNotices {
  const problems = new Set<string>()
  const notes = new Set<string>()
  return {
    problem (sentence) { if (problems.size < maxKept) problems.add(sentence) },
    note (sentence) { if (notes.size < maxKept) notes.add(sentence) },
    get problems () { return [...problems] },
    get notes () { return [...notes] }
  }
}
