import type { RouteOptions } from 'fastify'
import type { TSchema } from 'typebox'
import { answers } from '../../lib/protocol/answers.ts'
import { commandExample } from '../../lib/protocol/command-guide.ts'
import { commandSchemas, commandTypes } from '../../lib/protocol/commands.ts'
import { eventExample } from '../../lib/protocol/event-guide.ts'
import { eventSchemas, eventTypes } from '../../lib/protocol/events.ts'
import { differences, mismatchesOfEvent } from './conformance.ts'

/** What the contract of a route does not tell, as `GET /v1/x: no summary`. Routes that are not part of the contract (`hide`) may be silent. */
export function gapsOfRoutes (routes: readonly RouteOptions[]): readonly string[] {
  const told = routes.filter(({ method, schema }) => method !== 'HEAD' && schema?.hide !== true)
  const names = told.map(({ schema }) => schema?.operationId)
  return told.flatMap((route) => {
    const name = `${String(route.method)} ${route.url}`
    const twice = names.filter((id) => id !== undefined && id === route.schema?.operationId).length > 1
    return [...gapsOfRoute(route), ...(twice ? ['an operationId that another one has'] : [])].map((gap) => `${name}: ${gap}`)
  })
}

function gapsOfRoute ({ url, schema = {} }: RouteOptions): readonly string[] {
  const responses = Object.entries(schema.response ?? {})
  const has = (statuses: RegExp): boolean => responses.some(([status, response]) => statuses.test(status) && isSchema(response))
  const parameters = [...url.matchAll(/:(\w+)/g)].map(([, name = '']) => name)
  return [
    ...(['operationId', 'summary'] as const).filter((field) => typeof schema[field] !== 'string').map((field) => `no ${field}`),
    ...(schema.tags?.length === 1 ? [] : ['not one tag']),
    ...(has(/^[123]\d\d$/) ? [] : ['no schema for its success']),
    ...(['4xx', '5xx'] as const).filter((status) => !has(new RegExp(`^${status}$`))).map((status) => `no schema for ${status}`),
    ...parameters.filter((name) => !propertiesOf(schema.params).includes(name)).map((name) => `no schema for :${name}`),
    ...(['body', 'querystring', 'headers'] as const)
      .filter((part) => schema[part] !== undefined && !isSchema(schema[part])).map((part) => `no schema in ${part}`)
  ]
}

/** What the contract of the socket does not tell: a command without answer, a message without schema or without an example that matches it. */
export function gapsOfMessages (): readonly string[] {
  const commands = commandTypes.flatMap((type) => {
    const { payload } = commandSchemas[type].properties
    const known = answers[type].every((answer) => Object.hasOwn(eventSchemas, answer))
    return [
      ...(known && answers[type].length > 0 ? [] : [`${type}: no answer`]),
      ...('additionalProperties' in payload && payload.additionalProperties === false ? [] : [`${type}: takes more than it names`]),
      ...differences(`${type} example`, commandSchemas[type], commandExample(type))
    ]
  })
  const events = eventTypes.flatMap((type) => [
    ...(propertiesOf(eventSchemas[type]).includes('payload') ? [] : [`${type}: no schema of its payload`]),
    ...mismatchesOfEvent(eventExample(type))
  ])
  return [...commands, ...events]
}

function isSchema (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return ['type', 'anyOf', 'oneOf', 'allOf', 'content'].some((keyword) => keyword in value)
}

function propertiesOf (schema: unknown): readonly string[] {
  const { properties = {} } = (schema ?? {}) as Partial<TSchema & { properties: object }> // whatever it is, it is only looked into
  return Object.keys(properties)
}
