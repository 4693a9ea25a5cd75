import type { CommandType } from '../../../lib/protocol/commands.ts'
import type { TestServer } from '../start-server.ts'
import { call, comparable, comparableText } from './call.ts'
import { exchange, framesOf, requestsOf, type Operation } from './operation.ts'
import { isPlace, probesOf, slotsOf, unknownLike, type Ids, type Probe } from './ids.ts'
import { settle, type Inhabitant } from './inhabitant.ts'

/** What came of one try: with the ids of somebody else, and with ids that nobody has. */
export interface Outcome {
  readonly title: string
  /** What the answer has to be, because something is named that has to be the caller's; undefined where a place in a list is named. */
  readonly refusal: RegExp | undefined
  /** The code of the error that was answered; undefined when it was none. */
  readonly code: string | undefined
  /** The HTTP status; undefined over a socket. */
  readonly status: number | undefined
  /** All that came back, byte for byte but for what is new in each answer. */
  readonly foreign: string
  readonly unknown: string
}

export interface Encounter {
  readonly owner: Inhabitant
  readonly stranger: Inhabitant
  /** Ids that neither has. */
  readonly unknown: Ids
}

export async function meet (server: TestServer): Promise<Encounter> {
  const [owner, stranger] = [await settle(server, 'owner'), await settle(server, 'stranger')]
  return { owner, stranger, unknown: unknownLike(owner.ids, await server.token('nobody')) }
}

/** Calls an operation as the stranger, with all of the owner's ids, and once more with unknown ones in their place. */
export async function probeOperation (server: TestServer, operation: Operation, encounter: Encounter): Promise<readonly Outcome[]> {
  const { token } = encounter.stranger
  const outcomes: Outcome[] = []
  for (const request of requestsOf(operation)) {
    for (const probe of probesFor(request, encounter)) {
      const foreign = await call(server.url, { ...request(probe.foreign), token })
      const unknown = probe.slots.length === 0 ? foreign : await call(server.url, { ...request(probe.unknown), token })
      outcomes.push({ ...about(probe), status: foreign.status, code: codeOf(foreign.text), foreign: comparable(foreign), unknown: comparable(unknown) })
    }
  }
  return outcomes
}

/** The same of a command, on the stranger's socket. */
export async function probeCommand (type: CommandType, encounter: Encounter): Promise<readonly Outcome[]> {
  const { socket } = encounter.stranger
  const outcomes: Outcome[] = []
  for (const frame of framesOf(type)) {
    for (const probe of probesFor(frame, encounter)) {
      const foreign = JSON.stringify(await exchange(socket, frame(probe.foreign)))
      const unknown = JSON.stringify(await exchange(socket, frame(probe.unknown)))
      outcomes.push({ ...about(probe), status: undefined, code: codeOf(foreign), foreign: comparableText(foreign), unknown: comparableText(unknown) })
    }
  }
  return outcomes
}

/** What names nothing of anybody is called once all the same: it must tell nothing of others. */
function probesFor (build: (ids: Ids) => unknown, { owner, stranger, unknown }: Encounter): readonly Probe[] {
  const slots = slotsOf(build, owner.ids)
  const sets = { own: stranger.ids, foreign: owner.ids, deleted: owner.deleted, unknown }
  return slots.length > 0 ? probesOf(slots, sets) : [{ title: 'naming nothing', slots, foreign: stranger.ids, unknown: stranger.ids }]
}

function about ({ title, slots }: Probe): Pick<Outcome, 'title' | 'refusal'> {
  if (slots.every(isPlace)) return { title, refusal: undefined }
  // Of a token only its user is compared, and both are somebody else's.
  return { title, refusal: slots.length === 1 && slots[0] === 'token' ? /_SENDER_MISMATCH$/ : /_NOT_FOUND$/ }
}

/** Of an error body, or of the only event that was told. */
function codeOf (text: string): string | undefined {
  return /^\{"error":\{"code":"(\w+)"|^\[\{"type":"error".*"payload":\{"code":"(\w+)"[^{}]*\}[^{}]*\}\]$/.exec(text)?.slice(1).find((code) => code !== undefined)
}
