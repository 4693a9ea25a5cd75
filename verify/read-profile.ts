import type { HopRule, IdentityPart, Profile, ProfileAttributes, Terminal } from './profile.ts'
import type { SpanKind } from './span.ts'
import { threadlineProfile } from './threadline-profile.ts'

/** Something in a profile is not as it has to be. */
export class ProfileError extends Error {
  readonly code = 'THREADLINE_INVALID_PROFILE'
  /** Where, such as `hops[2].after`; empty for the whole. */
  readonly path: string

  constructor (path: string, problem: string) {
    super(path === '' ? `The profile ${problem}` : `The profile's ${path} ${problem}`)
    this.name = 'ProfileError'
    this.path = path
  }
}

const parts: readonly IdentityPart[] = ['user', 'thread', 'run']
const kinds: readonly SpanKind[] = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']
const keys = ['hops', 'attributes', 'implied', 'apart', 'carriers', 'terminal', 'baggageHosts']

/**
 * A profile from JSON that was parsed. What it does not say is as in `base`, Threadline's own by default; names of attributes are taken one by
 * one, everything else as a whole. With hops of its own, and no `implied` or `terminal`, no span is an implied hop, and ends of runs are
 * not checked. Throws `ProfileError` for what is not understood, a name that is not known too.
 */
export function readProfile (json: unknown, base: Profile = threadlineProfile): Profile {
  const given = objectAt('', json, keys)
  const own = given['hops'] !== undefined
  const profile: Profile = {
    hops: optional(given['hops'], (hops) => listAt('hops', hops, hopAt)) ?? base.hops,
    attributes: { ...base.attributes, ...optional(given['attributes'], (names) => attributesAt('attributes', names, base.attributes)) },
    implied: optional(given['implied'], (implied) => listAt('implied', implied, impliedAt)) ?? (own ? [] : base.implied),
    apart: optional(given['apart'], (apart) => listAt('apart', apart, textAt)) ?? base.apart,
    carriers: optional(given['carriers'], (carriers) => listAt('carriers', carriers, carrierAt)) ?? base.carriers,
    terminal: optional(given['terminal'], (terminal) => terminalAt('terminal', terminal)) ?? (own ? undefined : base.terminal),
    baggageHosts: optional(given['baggageHosts'], (hosts) => listAt('baggageHosts', hosts, textAt)) ?? base.baggageHosts
  }
  checkHopNames(profile)
  return profile
}

function checkHopNames ({ hops, implied, terminal }: Profile): void {
  const names = hops.map(({ name }) => name)
  if (names.length === 0) throw new ProfileError('hops', 'is empty')
  const check = (path: string, name: string): void => {
    if (!names.includes(name)) throw new ProfileError(path, `names the hop ${name}, which is not among its hops`)
  }
  for (const [index, { name, after, leadsTo = [] }] of hops.entries()) {
    if (names.indexOf(name) !== index) throw new ProfileError(`hops[${index}].name`, `is a second hop ${name}`)
    for (const other of after) check(`hops[${index}].after`, other)
    for (const other of leadsTo) check(`hops[${index}].leadsTo`, other)
  }
  for (const [index, { hop }] of implied.entries()) check(`implied[${index}].hop`, hop)
  if (terminal !== undefined) check('terminal.hop', terminal.hop)
}

function hopAt (path: string, json: unknown): HopRule {
  const { name, after = [], leadsTo, carries = [], delivers } = objectAt(path, json, ['name', 'after', 'leadsTo', 'carries', 'delivers'])
  return {
    name: textAt(`${path}.name`, name),
    after: listAt(`${path}.after`, after, textAt),
    carries: listAt(`${path}.carries`, carries, (at, part) => oneOfAt(at, part, parts)),
    ...(leadsTo === undefined ? {} : { leadsTo: listAt(`${path}.leadsTo`, leadsTo, textAt) }),
    ...(delivers === undefined ? {} : { delivers: flagAt(`${path}.delivers`, delivers) })
  }
}

function impliedAt (path: string, json: unknown): Profile['implied'][number] {
  const { kind, hop } = objectAt(path, json, ['kind', 'hop'])
  return { kind: oneOfAt(`${path}.kind`, kind, kinds), hop: textAt(`${path}.hop`, hop) }
}

function carrierAt (path: string, json: unknown): Profile['carriers'][number] {
  const { kind, name, below } = objectAt(path, json, ['kind', 'name', 'below'])
  return {
    kind: oneOfAt(`${path}.kind`, kind, kinds),
    name: textAt(`${path}.name`, name),
    ...(below === undefined ? {} : { below: textAt(`${path}.below`, below) })
  }
}

function terminalAt (path: string, json: unknown): Terminal {
  const { hop, eventType, excusedBy = [] } = objectAt(path, json, ['hop', 'eventType', 'excusedBy'])
  return {
    hop: textAt(`${path}.hop`, hop),
    eventType: textAt(`${path}.eventType`, eventType),
    excusedBy: listAt(`${path}.excusedBy`, excusedBy, textAt)
  }
}

function attributesAt (path: string, json: unknown, base: ProfileAttributes): Partial<ProfileAttributes> {
  const names = objectAt(path, json, Object.keys(base))
  return Object.fromEntries(Object.entries(names).map(([key, name]) => [key, textAt(`${path}.${key}`, name)]))
}

function optional<T> (json: unknown, read: (json: unknown) => T): T | undefined {
  return json === undefined ? undefined : read(json)
}

function objectAt (path: string, json: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new ProfileError(path, 'is not an object')
  for (const key of Object.keys(json)) {
    if (!known.includes(key)) throw new ProfileError(path, `has the unknown name ${key}; known are ${known.join(', ')}`)
  }
  return json as Readonly<Record<string, unknown>> // an object with names, just checked
}

function listAt<T> (path: string, json: unknown, itemAt: (path: string, json: unknown) => T): readonly T[] {
  if (!Array.isArray(json)) throw new ProfileError(path, 'is not a list')
  return json.map((item: unknown, index) => itemAt(`${path}[${index}]`, item))
}

function textAt (path: string, json: unknown): string {
  if (typeof json !== 'string' || json === '') throw new ProfileError(path, 'is not text')
  return json
}

function flagAt (path: string, json: unknown): boolean {
  if (typeof json !== 'boolean') throw new ProfileError(path, 'is neither true nor false')
  return json
}

function oneOfAt<T extends string> (path: string, json: unknown, known: readonly T[]): T {
  const found = known.find((one) => one === json)
  if (found === undefined) throw new ProfileError(path, `is none of ${known.join(', ')}`)
  return found
}
