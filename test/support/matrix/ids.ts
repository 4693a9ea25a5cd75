import { newMessageId, newRunId, newThreadId } from '../../../lib/protocol/ids.ts'

/** Everything by which an operation can name something of a user. */
export interface Ids {
  readonly thread: string
  /** The thread that a frame names beside its payload. */
  readonly frame: string
  readonly message: string
  readonly answer: string
  readonly run: string
  /** Messages and runs as places in a list: what comes before them is asked for. */
  readonly beforeMessage: string
  readonly beforeRun: string
  readonly threadCursor: string
  readonly searchCursor: string
  /** A word that only this user's titles and messages have. */
  readonly word: string
  readonly token: string
}

export type Slot = keyof Ids

/** These name no resource: they are answered, with what is the caller's own. Whatever is named by another slot has to be refused. */
const places: readonly Slot[] = ['beforeMessage', 'beforeRun', 'threadCursor', 'searchCursor', 'word']

export function isPlace (slot: Slot): boolean {
  return places.includes(slot)
}

/** Which ids an input is made of. */
export function slotsOf (build: (ids: Ids) => unknown, sample: Ids): readonly Slot[] {
  const used = new Set<Slot>()
  build(new Proxy(sample, {
    get (target, name) {
      used.add(name as Slot) // the type lets nothing else be asked for
      return target[name as Slot]
    }
  }))
  return [...used]
}

/** Ids like those of somebody, which nobody has. */
export function unknownLike (somebody: Ids, token: string): Ids {
  const threadId = newThreadId()
  const thread: string = threadId
  return {
    thread,
    frame: thread,
    message: newMessageId(),
    answer: newMessageId(),
    run: newRunId(threadId),
    beforeMessage: newMessageId(),
    beforeRun: newRunId(threadId),
    threadCursor: withOtherIds(somebody.threadCursor),
    searchCursor: withOtherIds(somebody.searchCursor),
    word: somebody.word.replace('otter', 'badger'),
    token
  }
}

/** The same place in a list, behind a thread that is not there. */
function withOtherIds (cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString()
  return Buffer.from(text.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, newThreadId())).toString('base64url')
}

export interface Probe {
  readonly title: string
  readonly slots: readonly Slot[]
  readonly foreign: Ids
  readonly unknown: Ids
}

/**
 * The inputs by which one user can try another's ids: in each place alone, with the rest one's own, and in all of them; then again with a
 * thread that its owner has deleted.
 */
export function probesOf (slots: readonly Slot[], { own, foreign, unknown, deleted }: Readonly<Record<'own' | 'foreign' | 'unknown' | 'deleted', Ids>>): readonly Probe[] {
  const sets = [...slots.map((slot) => [slot]), ...(slots.length > 1 ? [slots] : [])]
  return [{ from: foreign, of: 'another user' }, { from: deleted, of: 'another user, deleted' }].flatMap(({ from, of }) => sets.map((chosen) => ({
    title: `${chosen.join(', ')} of ${of}`,
    slots: chosen,
    foreign: mix(own, from, chosen),
    unknown: mix(own, unknown, chosen)
  })))
}

function mix (own: Ids, other: Ids, slots: readonly Slot[]): Ids {
  return { ...own, ...Object.fromEntries(slots.map((slot) => [slot, other[slot]])) }
}
