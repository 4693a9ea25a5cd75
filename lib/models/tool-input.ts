import type { JSONObject, JSONValue } from '@ai-sdk/provider'

/** What is read of a tool's JSON schema (draft 7). Its whole type is in a package of its own, without which it is `any`. */
export interface InputSchema {
  readonly type?: string | readonly string[] | undefined
  readonly properties?: Readonly<Record<string, InputSchema | boolean>> | undefined
  readonly required?: readonly string[] | undefined
  readonly items?: InputSchema | boolean | readonly (InputSchema | boolean)[] | undefined
  readonly anyOf?: readonly (InputSchema | boolean)[] | undefined
  readonly oneOf?: readonly (InputSchema | boolean)[] | undefined
  readonly enum?: readonly JSONValue[] | undefined
  readonly const?: JSONValue | undefined
  readonly minimum?: number | undefined
}

type Schema = InputSchema | boolean | undefined

/**
 * Arguments for a tool, made from a text by the tool's JSON schema. Only required properties are filled: a string gets the text, a
 * number the next number found in it, a choice the first of its values that occurs in it. Deterministic, and blind to `$ref`.
 */
export function inputFromText (schema: Schema, text: string): JSONObject {
  const numbers = [...text.matchAll(/-?\d+(?:\.\d+)?/g)].map(Number)
  return requiredProperties(schema, { text, numbers })
}

/**
 * Arguments written as `name=value` or `name="several words"`. Each value gets the type that the schema gives its property; the
 * words that are left over fill what is required and was not named.
 */
export function inputFromPairs (schema: Schema, source: string): JSONObject {
  const input: Record<string, JSONValue> = {}
  const text = source.replace(/([\p{L}_][\p{L}\p{N}_-]*)=("(?:[^"\\]|\\.)*"|\S*)/gu, (_pair, name: string, written: string) => {
    input[name] = valueOf(propertiesOf(schema)[name], written)
    return ''
  }).trim()
  return { ...inputFromText(schema, text), ...input }
}

interface Source {
  readonly text: string
  /** Taken from the front, one for each numeric property. */
  readonly numbers: number[]
}

function requiredProperties (schema: Schema, source: Source): JSONObject {
  if (typeof schema !== 'object') return {}
  const properties = propertiesOf(schema)
  return Object.fromEntries((schema.required ?? []).map((name) => [name, fill(properties[name], source)]))
}

function fill (schema: Schema, source: Source): JSONValue {
  if (typeof schema !== 'object') return source.text
  const alternative = schema.anyOf?.[0] ?? schema.oneOf?.[0]
  if (alternative !== undefined) return fill(alternative, source)
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return schema.enum.find((value) => typeof value === 'string' && source.text.includes(value)) ?? schema.enum[0] ?? null
  switch (typeOf(schema)) {
    case 'number': return source.numbers.shift() ?? schema.minimum ?? 0
    case 'integer': return Math.trunc(source.numbers.shift() ?? schema.minimum ?? 0)
    case 'boolean': return false
    case 'null': return null
    case 'array': return [fill(isTuple(schema.items) ? schema.items[0] : schema.items, source)]
    case 'object': return requiredProperties(schema, source)
    default: return source.text
  }
}

function valueOf (schema: Schema, written: string): JSONValue {
  const text = written.startsWith('"') ? unquote(written) : written
  if (typeof schema === 'object' && typeOf(schema) === 'string') return text
  if (typeof schema !== 'object' && written !== text) return text
  try {
    return JSON.parse(text) as JSONValue // what JSON.parse returns
  } catch {
    return text // not a number, boolean, list or object: the tool's own validation judges it
  }
}

function unquote (written: string): string {
  return written.slice(1, -1).replace(/\\(["\\])/g, '$1')
}

function typeOf ({ type }: InputSchema): string | undefined {
  return typeof type === 'object' ? type.find((name) => name !== 'null') : type
}

function isTuple (items: InputSchema['items']): items is readonly (InputSchema | boolean)[] {
  return Array.isArray(items)
}

function propertiesOf (schema: Schema): Readonly<Record<string, InputSchema | boolean>> {
  return typeof schema === 'object' ? schema.properties ?? {} : {}
}
