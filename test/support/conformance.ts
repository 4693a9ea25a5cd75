import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { ErrorBody } from '../../lib/protocol/error-body.ts'
import { eventSchemas } from '../../lib/protocol/events.ts'

/** What a route says of one answer. */
export interface Answered {
  /** `GET /v1/me 200` */
  readonly where: string
  readonly status: number
  /** By status, class of status (`4xx`) or `default`; undefined for what no route answered. */
  readonly responses: Readonly<Record<string, unknown>> | undefined
  readonly body: unknown
}

const compiled = new WeakMap<object, Validator>()

/** How an event differs from the schema of its type, in words; nothing when it does not. A field that the schema does not name is a difference. */
export function mismatchesOfEvent (event: unknown): readonly string[] {
  const type = typeof event === 'object' && event !== null && 'type' in event ? String(event.type) : typeof event
  const schema = eventSchemas[type]
  return schema === undefined ? [`event ${type} has no schema`] : differences(`event ${type}`, schema, event)
}

/** The same of the body of an answer. What nobody routed is an `ErrorBody`. */
export function mismatchesOfAnswer ({ where, status, responses, body }: Answered): readonly string[] {
  const schema = responses === undefined ? ErrorBody : responseFor(status, responses)
  if (schema === undefined) return [`${where} has no schema for this status`]
  return differences(where, schema, body)
}

/**
 * The schema, with nothing allowed beside what it names. In the contracts objects are open, because clients have to ignore what they do not
 * know; the server itself sends nothing that it does not declare.
 */
export function closeSchema (schema: TSchema): TSchema {
  return close(schema) as TSchema // a copy of a schema, with a keyword more
}

function close (schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema
  if (Array.isArray(schema)) return schema.map(close)
  const copy = Object.fromEntries(Object.entries(schema).map(([key, part]) => [key, close(part)]))
  return 'properties' in schema && schemaDescribesObject(schema) && !('additionalProperties' in schema) ? { ...copy, additionalProperties: false } : copy
}

/** `properties` can also be the name of a property. */
function schemaDescribesObject (schema: object): boolean {
  return 'type' in schema && schema.type === 'object'
}

/** How a value differs from a schema of which nothing is open. */
export function differences (where: string, schema: TSchema, value: unknown): readonly string[] {
  const validator = validatorOf(schema)
  if (validator.Check(value)) return []
  return validator.Errors(value).slice(0, 5).map(({ instancePath, message, params }) => `${where} ${instancePath}: ${message} ${JSON.stringify(params)}`)
}

function validatorOf (schema: TSchema): Validator {
  const known = compiled.get(schema)
  if (known !== undefined) return known
  const validator = Compile(closeSchema(schema))
  compiled.set(schema, validator)
  return validator
}

function responseFor (status: number, responses: Readonly<Record<string, unknown>>): TSchema | undefined {
  const found = responses[status] ?? responses[`${Math.floor(status / 100)}xx`] ?? responses['default']
  if (typeof found !== 'object' || found === null) return undefined
  return 'content' in found ? contentSchema(found.content) : found
}

/** Of a response that is described by media type: its JSON. */
function contentSchema (content: unknown): TSchema | undefined {
  const media = (content as Readonly<Record<string, { schema: TSchema } | undefined>>)['application/json'] // Fastify's own form
  return media?.schema
}
