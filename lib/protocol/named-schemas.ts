import type { TSchema } from 'typebox'
import { ErrorBody } from './error-body.ts'
import { ActiveRun, eventPayloads, MessageView, RunView, SearchResult, ThreadView } from './events.ts'
import { DatabaseProtection, IsolationSpan, RunIsolation } from './run-isolation.ts'

/** The schemas that the contracts tell once and refer to by name, so that they can be read. */
export const namedSchemas: Readonly<Record<string, TSchema>> = {
  ThreadView,
  MessageView,
  RunView,
  ActiveRun,
  SearchResult,
  ErrorBody,
  ErrorPayload: eventPayloads.error,
  MessageAccepted: eventPayloads.message_accepted,
  RunsStopping: eventPayloads.runs_stopping,
  RunList: eventPayloads.run_list,
  RunIsolation,
  IsolationSpan,
  DatabaseProtection,
  ThreadDeleted: eventPayloads.thread_deleted,
  ThreadState: eventPayloads.thread_state,
  ThreadList: eventPayloads.thread_list,
  SearchResults: eventPayloads.search_results,
  ThreadHistory: eventPayloads.thread_history
}

interface Contract {
  components?: { schemas?: Record<string, unknown> }
}

/**
 * A contract in which every schema that is also under `components.schemas` is a reference to there, and in which no component is left that
 * nothing refers to. Schemas are alike when their JSON is.
 */
export function referToComponents<Document extends Contract> (document: Document): Document {
  const schemas = Object.entries(document.components?.schemas ?? {})
  const names = new Map(schemas.map(([name, schema]) => [JSON.stringify(schema), name]))
  const rest = refer({ ...document, components: { ...document.components, schemas: {} } }, names) as Document // only schemas were exchanged
  const components = Object.fromEntries(schemas.map(([name, schema]) => [name, mapValues(schema, (part) => refer(part, names))]))
  const used = reachable(rest, components)
  return { ...rest, components: { ...rest.components, schemas: Object.fromEntries(Object.entries(components).filter(([name]) => used.has(name))) } }
}

const prefix = '#/components/schemas/'

function refer (value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (typeof value !== 'object' || value === null) return value
  const name = names.get(JSON.stringify(value))
  return name === undefined ? mapValues(value, (part) => refer(part, names)) : { $ref: `${prefix}${name}` }
}

function mapValues (value: unknown, map: (part: unknown) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(map)
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, map(part)]))
}

/** The names of the components that a document refers to, directly or by another component. */
function reachable (value: unknown, components: Readonly<Record<string, unknown>>, found = new Set<string>()): ReadonlySet<string> {
  const text = JSON.stringify(value) ?? ''
  for (const [, name = ''] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
    if (found.has(name)) continue
    found.add(name)
    reachable(components[name], components, found)
  }
  return found
}
