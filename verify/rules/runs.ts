import type { Terminal } from '../profile.ts'
import type { Node, TraceIndex } from '../trace-index.ts'

/** What a trace tells of one run. */
export interface SeenRun {
  readonly run: string
  /** Its hops, in order. */
  readonly hops: Node[]
  /** The spans that told its end. */
  readonly ends: Node[]
  /** Whether it failed because its end was told elsewhere. */
  excused: boolean
}

/** The runs that are worked on in a trace: those of hops that have to carry a run. */
export function runsOf ({ hops }: TraceIndex, terminal: Terminal): readonly SeenRun[] {
  const runs = new Map<string, SeenRun>()
  for (const node of hops) {
    const { hop, path: { run }, span: { eventType, failed, errorType } } = node
    if (run === undefined || hop === undefined || !hop.carries.includes('run')) continue
    const seen = runs.get(run) ?? { run, hops: [], ends: [], excused: false }
    runs.set(run, seen)
    seen.hops.push(node)
    if (hop.name === terminal.hop && eventType === terminal.eventType && !failed) seen.ends.push(node)
    if (failed && errorType !== undefined && terminal.excusedBy.includes(errorType)) seen.excused = true
  }
  return [...runs.values()]
}

/** It has told no end, and nobody has for it. */
export function isOpen ({ ends, excused }: SeenRun): boolean {
  return ends.length === 0 && !excused
}
