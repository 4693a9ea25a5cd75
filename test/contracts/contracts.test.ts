import SwaggerParser from '@apidevtools/swagger-parser'
import { Parser } from '@asyncapi/parser'
import Fastify, { type RouteOptions } from 'fastify'
import t from 'tap'
import { Type } from 'typebox'
import { commandTypes } from '../../lib/protocol/commands.ts'
import { ErrorBody } from '../../lib/protocol/error-body.ts'
import { eventTypes } from '../../lib/protocol/events.ts'
import { gapsOfMessages, gapsOfRoutes } from '../support/contract-gaps.ts'
import { startServer } from '../support/start-server.ts'

const server = await startServer(t)

interface Operation { readonly operationId: string, readonly tags: readonly string[], readonly security?: readonly unknown[] }
interface OpenApi {
  readonly openapi: string
  readonly tags: readonly { readonly name: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> }
}

async function read<Document> (path: string): Promise<Document> {
  const response = await fetch(`${server.url}${path}`)
  t.equal(response.status, 200, path)
  return await response.json() as Document // what a parser then checks
}

t.test('every route tells what it takes and what it answers, in good and in bad', async (t) => {
  const untold = server.routes.filter(({ schema }) => schema?.hide === true)

  t.ok(server.routes.length > 10)
  t.same(gapsOfRoutes(server.routes), [])
  t.same(untold.filter(({ url }) => url !== '/v1/docs' && !url.startsWith('/v1/docs/')), [], 'only the page to read is no part of the contract')
})

t.test('every command has an answer, every message a schema, and an example that matches it', async (t) => {
  t.same(gapsOfMessages(), [])
})

t.test('a route without a schema is named, and so is each part that is missing', async (t) => {
  const app = Fastify()
  const routes: RouteOptions[] = []
  const whole = { operationId: 'x', summary: 'x', tags: ['Service'], response: { 200: Type.String(), '4xx': ErrorBody, '5xx': ErrorBody } }
  const answer = async () => 'x'
  app.addHook('onRoute', (route) => { routes.push(route) })
  app.get('/planted', answer)
  app.post('/planted/:id', { schema: { ...whole, operationId: 'a' } }, answer)
  app.get('/whole/:id', { schema: { ...whole, operationId: 'b', params: Type.Object({ id: Type.String() }) } }, answer)
  app.get('/open', { schema: { ...whole, operationId: 'c', response: { 200: {}, '4xx': ErrorBody } } }, answer)
  app.get('/hidden', { schema: { hide: true } }, answer)
  app.get('/twin', { schema: whole }, answer)
  app.get('/other-twin', { schema: whole }, answer)

  const gaps = gapsOfRoutes(routes)

  t.same(gaps.filter((gap) => gap.startsWith('GET /planted')).map((gap) => gap.slice('GET /planted: '.length)), [
    'no operationId', 'no summary', 'not one tag', 'no schema for its success', 'no schema for 4xx', 'no schema for 5xx'
  ])
  t.same(gaps.filter((gap) => !gap.startsWith('GET /planted')), [
    'POST /planted/:id: no schema for :id',
    'GET /open: no schema for its success',
    'GET /open: no schema for 5xx',
    'GET /twin: an operationId that another one has',
    'GET /other-twin: an operationId that another one has'
  ])
})

t.test('what is served as OpenAPI is OpenAPI 3.1, and tells of every route', async (t) => {
  const document = await read<OpenApi>('/v1/openapi.json')
  const operations = Object.entries(document.paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`))
  const routes = server.routes.filter(({ method, schema }) => method !== 'HEAD' && schema?.hide !== true)

  t.match(document.openapi, /^3\.1\./)
  await t.resolves(SwaggerParser.validate(structuredClone(document) as never)) // it judges whatever it is given
  t.same(operations.toSorted(), routes.map(({ method, url }) => `${String(method)} ${url.replace(/:(\w+)/g, '{$1}')}`).toSorted())
})

t.test('OpenAPI tells shared schemas once, which operations need no token, and under which tags they stand', async (t) => {
  const document = await read<OpenApi>('/v1/openapi.json')
  const operations = Object.values(document.paths).flatMap((item) => Object.values(item))
  const open = server.routes.filter(({ method, config, schema }) => method !== 'HEAD' && config?.public === true && schema?.hide !== true)
  const tags = document.tags.map(({ name }) => name)

  t.ok(Object.hasOwn(document.components.schemas, 'ErrorBody'))
  t.notMatch(JSON.stringify(document.paths), 'THREADLINE_INTERNAL', 'no operation repeats the schema of errors')
  t.same(
    operations.filter(({ security }) => security?.length === 0).map(({ operationId }) => operationId).toSorted(),
    open.map(({ schema }) => String(schema?.operationId)).toSorted()
  )
  t.same(operations.filter((operation) => !operation.tags.every((tag) => tags.includes(tag))), [])
})

t.test('what is served as AsyncAPI is AsyncAPI 3, and tells of every command, its answer, and every event', async (t) => {
  const document = await read<{ asyncapi: string }>('/v1/asyncapi.json')

  const { document: parsed, diagnostics } = await new Parser().parse(document)

  t.same(diagnostics.filter(({ severity }) => severity <= 1), [], 'neither errors nor warnings')
  t.match(parsed?.version(), /^3\./)
  const operations = parsed?.operations().all() ?? []
  t.same(operations.filter((operation) => operation.isReceive()).map((operation) => String(operation.id())).toSorted(), commandTypes.toSorted())
  for (const operation of operations.filter((each) => each.isReceive())) t.ok((operation.reply()?.messages().all().length ?? 0) >= 2, String(operation.id()))
  const told = new Set(operations.flatMap((operation) => [
    ...(operation.isSend() ? operation.messages().all() : []), ...(operation.reply()?.messages().all() ?? [])
  ]).map((message) => String(message.name())))
  t.same([...told].toSorted(), eventTypes.toSorted())
  for (const message of parsed?.allMessages().all() ?? []) {
    t.ok(message.hasPayload(), message.id())
    t.ok(message.examples().all().length > 0, message.id())
  }
})

t.test('the contracts are read without a token, and so is the page, which needs nothing from elsewhere', async (t) => {
  const page = await fetch(`${server.url}/v1/docs`)
  const html = await page.text()
  const parts = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path)

  t.equal(page.status, 200)
  t.ok(parts.length > 4)
  for (const part of parts) {
    const response = await fetch(new URL(part, `${server.url}/v1/docs`))
    await response.arrayBuffer()
    t.equal(response.status, 200, part)
    t.match(part, /^\/v1\/docs\//)
  }
  const policy = page.headers.get('content-security-policy') ?? ''
  t.match(policy, "default-src 'none'")
  t.notMatch(policy, 'http')
  t.notMatch(html, /<script>|<style/, 'nothing that the policy would refuse')
})

t.test('the address of the socket tells who comes without an upgrade what it is for', async (t) => {
  const response = await fetch(`${server.url}/v1/socket`, { headers: { authorization: `Bearer ${await server.token('alice')}` } })

  t.equal(response.status, 400)
  t.match(await response.json(), { error: { code: 'THREADLINE_BAD_REQUEST' } })
})
