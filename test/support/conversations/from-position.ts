import type { Position } from './actions.ts'

/** Where a tab wants to go on. */
export interface From { readonly after: number, readonly epoch: string }

/** A position by its name, for a tab that has read so far. */
export function fromPosition (position: Position, last: From): From {
  switch (position) {
    case 'last': return last
    case 'older': return { ...last, after: Math.floor(last.after / 2) }
    case 'zero': return { ...last, after: 0 }
    case 'beyond': return { ...last, after: last.after + 1_000_000 }
    case 'other-epoch': return { ...last, epoch: 'another' }
  }
}
