import { STATUS_CODES } from 'node:http'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import { createAsyncApi } from '../lib/protocol/asyncapi.ts'
import { namedSchemas, referToComponents } from '../lib/protocol/named-schemas.ts'

declare module 'fastify' {
  interface FastifyInstance {
    contracts: Contracts
  }
}

/** What this server serves, each as one document. */
export interface Contracts {
  /** HTTP as OpenAPI 3.1. Complete once the server is ready. */
  readonly openApi: () => object
  /** The socket as AsyncAPI 3. */
  readonly asyncApi: object
}

const title = 'Threadline'
const license = { name: packageJson.license, url: 'https://www.apache.org/licenses/LICENSE-2.0' }

const description = `The server behind a multi-user AI chat. Whatever is done here is done as over the socket, by the same rules, and the user's
other connections are told alike; what is said on sockets and event streams is told by [/v1/asyncapi.json](/v1/asyncapi.json).

A thread, run or message of another user does not exist: it is answered by 404, as one that never was. Every refusal is
\`{ "error": { "code", "message", "request_id" } }\`; codes are never renamed.`

const tags = [
  { name: 'Chat', description: 'The socket, and event streams for clients that only listen' },
  { name: 'Threads', description: 'The conversations of the user, and their messages' },
  { name: 'Runs', description: 'Executions of agents in threads' },
  { name: 'Agents', description: 'Whom one can talk to' },
  { name: 'Account', description: 'Who the caller is, and what lets them in' },
  { name: 'Service', description: 'For probes and for tools' }
]

const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  ticket: { type: 'apiKey', in: 'query', name: 'ticket', description: 'Of POST /v1/tickets, for one connection' }
} as const

/**
 * The contracts of this server, made of the schemas that it checks by, and a page to read the one of HTTP. Has to be registered before the
 * routes that it tells of, and after authentication, which the page is exempt from.
 */
export default fp(async function contracts (app) {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title, version: packageJson.version, description, license },
      servers: [{ url: '/', description: 'This service' }],
      tags,
      security: [{ bearer: [] }],
      components: { securitySchemes, schemas: { ...namedSchemas } }
    },
    convertConstToEnum: false,
    transform: ({ schema, url, route }) => ({ schema: describeRoute(schema, route.config?.public === true), url }),
    transformObject: (document) => 'openapiObject' in document ? referToComponents(document.openapiObject) : document.swaggerObject
  })

  await app.register(async (page) => {
    page.addHook('onRoute', (route) => { route.config = { ...route.config, public: true } })
    await page.register(swaggerUi, {
      routePrefix: '/v1/docs',
      staticCSP: contentSecurityPolicy,
      logLevel: 'warn',
      theme: { title: `${title} ${packageJson.version}` },
      uiConfig: { layout: 'BaseLayout', docExpansion: 'list', operationsSorter: 'alpha', defaultModelsExpandDepth: 0, tryItOutEnabled: true }
    })
  })

  app.decorate('contracts', {
    openApi: () => app.swagger(),
    asyncApi: createAsyncApi({ title, version: packageJson.version, license, host: `${app.config.host}:${app.config.port}` })
  })
}, { name: 'contracts', fastify: '5.x', dependencies: ['config', 'authentication'] })

/** Everything that the page needs comes with it. It sets styles of elements by itself. */
const contentSecurityPolicy = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': ["'self'", "'unsafe-inline'"],
  'img-src': ["'self'", 'data:'],
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'"
}

/** The route's schema as the contract tells it: that no token is needed, and a word for each status that has none of its own. */
function describeRoute (schema: FastifySchema, isPublic: boolean): FastifySchema {
  const responses = Object.entries(schema.response ?? {}).map(([status, response]: [string, object]) => [
    status, 'description' in response ? response : { ...response, 'x-response-description': STATUS_CODES[status] ?? status }
  ])
  return { ...schema, ...(isPublic ? { security: [] } : {}), response: Object.fromEntries(responses) }
}
