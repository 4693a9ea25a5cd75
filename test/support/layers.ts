/**
 * The layers of the architecture as a table. A place is a folder (it ends with `/`) or a file; a path belongs to the
 * longest place that it starts with. `ARCHITECTURE.md` draws the same table.
 */

/** Lowest first. A file imports from its own place and from the rows before its own, never sideways or up. */
const rows: readonly (readonly string[])[] = [
  ['lib/errors.ts'],
  ['lib/protocol/', 'lib/context/'],
  ['lib/stores/'],
  ['lib/auth/', 'lib/storage/', 'lib/events/', 'lib/queue/', 'lib/models/', 'lib/telemetry/'],
  ['lib/emitter/'],
  ['lib/tools/'],
  ['lib/agents/'],
  ['lib/engine/'],
  ['lib/handlers/'],
  ['lib/gateway/'],
  ['lib/canary/'],
  ['plugins/'],
  ['routes/'],
  ['app.ts']
]

export interface Permission {
  readonly place: string
  /** Only `import type`: the importer runs without the server. */
  readonly typeOnly?: true
}

/** Places that may import less than the rows below them, or stand beside the rows. Their own place is always theirs. */
const narrow: ReadonlyMap<string, readonly Permission[]> = new Map([
  ['routes/', [{ place: 'lib/errors.ts' }, { place: 'lib/protocol/' }, { place: 'lib/context/' }]],
  ['telemetry.ts', [
    { place: 'lib/errors.ts' }, { place: 'lib/protocol/' }, { place: 'lib/context/' }, { place: 'lib/telemetry/' }
  ]],
  ['fastify.config.ts', []],
  ['verify/', []],
  ['eslint/', []],
  ['client/', [{ place: 'lib/protocol/', typeOnly: true }]],
  ['bin/', [
    { place: 'client/' }, { place: 'verify/' }, { place: 'lib/errors.ts' }, { place: 'lib/storage/' }, { place: 'lib/auth/' }, { place: 'lib/events/' }, { place: 'lib/protocol/', typeOnly: true }
  ]],
  ['agents/', [{ place: 'lib/agents/' }, { place: 'lib/tools/' }, { place: 'lib/context/' }]]
])

/** Added to what the rows give. */
const wide: ReadonlyMap<string, readonly Permission[]> = new Map([
  // The verifier knows spans only, so nothing can come up through it; a plugin gives it to the routes.
  ['plugins/', [{ place: 'verify/' }]]
])

interface Exception {
  readonly from: string
  readonly to: string
  readonly reason: string
}

/** The single ways beside the rows. */
const exceptions: readonly Exception[] = [
  { from: 'lib/context/', to: 'lib/protocol/ids.ts', reason: 'an identity consists of the branded ids that the protocol speaks of' },
  { from: 'bin/', to: 'plugins/config.ts', reason: 'the doctor judges the configuration that a server would read, by the same file' }
]

/** They may import anything, and are imported by nothing. The package's entries, in `exports/`, are the one place for passing on what others define. */
const free = ['bench/', 'scripts/', 'test/', 'testing/', 'exports/']

/** Siblings that meet through decorators: a file here does not import its own folder. */
const solitary = ['plugins/']

const places = [...rows.flat(), ...narrow.keys(), ...free]

export function findPlace (path: string): string | undefined {
  return places
    .filter((place) => place.endsWith('/') ? path.startsWith(place) : path === place)
    .toSorted((a, b) => b.length - a.length)[0]
}

export function isFree (path: string): boolean {
  return free.some((place) => path.startsWith(place))
}

/** Why the file at `from` must not import the one at `to`; undefined when it may. */
export function refuseImport (from: string, to: string, typeOnly: boolean): string | undefined {
  if (isFree(from)) return undefined
  const own = findPlace(from)
  const other = findPlace(to)
  if (own === undefined) return `${from} has no place in the layers`
  if (other === undefined) return `${to} has no place in the layers`
  if (own === other) return solitary.includes(own) ? `files of ${own} do not import each other` : undefined
  if (exceptions.some((exception) => exception.from === own && exception.to === to)) return undefined

  const permission = findPermissions(own).find(({ place }) => place === other)
  if (permission === undefined) return `${own} does not import ${other}`
  return permission.typeOnly && !typeOnly ? `${own} imports only types of ${other}` : undefined
}

function findPermissions (place: string): readonly Permission[] {
  const row = rows.findIndex((row) => row.includes(place))
  const below = rows.slice(0, Math.max(row, 0)).flat().map((place) => ({ place }))
  return [...(narrow.get(place) ?? below), ...(wide.get(place) ?? [])]
}
