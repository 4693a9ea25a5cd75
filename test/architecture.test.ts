import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findViolations, type Rule } from './support/architecture.ts'
import { findTelemetryProblems, type Lock } from './support/installed-packages.ts'
import { readProductFiles } from './support/product-files.ts'

const root = join(import.meta.dirname, '..')

t.test('the product keeps its architecture', async (t) => {
  const files = readProductFiles(root)

  const violations = findViolations(files)

  t.ok(files.some(({ path }) => path === 'lib/errors.ts'), 'the product was read')
  t.same(violations, [])
})

/** The rules that the files of a planted product break, as `path rule`. */
function judge (product: Readonly<Record<string, string>>): readonly string[] {
  const files = Object.entries(product).map(([path, source]) => ({ path, source }))
  return findViolations(files).map(({ path, rule }) => `${path} ${rule}`)
}

interface Case {
  readonly title: string
  readonly path: string
  readonly source: string
}

const allowed: readonly Case[] = [
  { title: 'its own folder', path: 'lib/engine/run.ts', source: "import { a } from './loop.ts'" },
  { title: 'a row below', path: 'lib/handlers/cancel.ts', source: "import { a } from '../engine/run.ts'" },
  { title: 'a port of the storage, from who asks it and who answers', path: 'lib/events/log.ts', source: "import type { A } from '../stores/event-store.ts'" },
  { title: 'the errors, from any row', path: 'lib/protocol/ids.ts', source: "import { a } from '../errors.ts'" },
  { title: 'the ids, from the context', path: 'lib/context/identity.ts', source: "import type { A } from '../protocol/ids.ts'" },
  { title: '@fastify/error in the library', path: 'lib/errors.ts', source: "import createError from '@fastify/error'" },
  { title: 'the library, from a plugin', path: 'plugins/storage.ts', source: "import fp from 'fastify-plugin'\nimport { a } from '../lib/storage/a.ts'" },
  { title: 'the verifier, from a plugin', path: 'plugins/isolation.ts', source: "import { verify } from '../verify/verify.ts'" },
  { title: 'plugins and routes, from the app', path: 'app.ts', source: "import a from './plugins/a.ts'\nimport b from './routes/b.ts'" },
  { title: 'protocol and context, from a route', path: 'routes/threads.ts', source: "import { a } from '../lib/protocol/events.ts'\nimport { b } from '../lib/context/current-thread.ts'" },
  { title: 'types of the protocol, from the client', path: 'client/client.ts', source: "import type { A } from '../lib/protocol/events.ts'" },
  { title: 'the client and the verifier, from a command', path: 'bin/chat.ts', source: "import { a } from '../client/client.ts'\nimport { b } from '../verify/verify.ts'" },
  { title: 'defineAgent, from an agent', path: 'agents/weather.ts', source: "import { a } from '../lib/agents/define-agent.ts'\nimport { Type } from 'typebox'" },
  { title: 'anything, from a benchmark', path: 'bench/soak.ts', source: "import a from '../app.ts'\nimport b from '../plugins/b.ts'" },
  { title: 'anything, from a test', path: 'test/app.test.ts', source: "import a from '../app.ts'\nstorage.enterWith(1)" },
  { title: 'the version, from the library', path: 'lib/telemetry/resource.ts', source: "import p from '../../package.json' with { type: 'json' }" },
  { title: 'one storage, in the context', path: 'lib/context/context-manager.ts', source: "import { AsyncLocalStorage } from 'node:async_hooks'\nexport const storage = new AsyncLocalStorage()" },
  { title: 'a name that only begins alike', path: 'lib/context/enter.ts', source: 'export function enterWithin () {}' },
  { title: 'passing on, in an entry of the package', path: 'exports/context.ts', source: "export { a } from '../lib/context/a.ts'" },
  { title: 'enterWith by its name, in the rule against it', path: 'eslint/no-enter-with.ts', source: "export const forbidden = 'enterWith'" },
  { title: 'enterWith, in a fault', path: 'testing/faults/entered.ts', source: 'storage.enterWith(1)' },
  { title: 'a forbidden word in a comment', path: 'lib/engine/run.ts', source: '// enterWith is banned; so is import fastify\nexport const a = 1' }
]

t.test('an import that the layers allow is not reported', async (t) => {
  for (const { title, path, source } of allowed) {
    t.same(judge({ [path]: source }), [], title)
  }
})

const forbidden: readonly (Case & { readonly rule: Rule })[] = [
  { rule: 'layer', title: 'up a row', path: 'lib/storage/a.ts', source: "import { a } from '../engine/run.ts'" },
  { rule: 'layer', title: 'the storage, from its port', path: 'lib/stores/a.ts', source: "import type { A } from '../storage/a.ts'" },
  { rule: 'layer', title: 'the storage, from a sibling', path: 'lib/queue/a.ts', source: "import type { A } from '../storage/a.ts'" },
  { rule: 'layer', title: 'up, as a type', path: 'lib/storage/a.ts', source: "import type { A } from '../engine/run.ts'" },
  { rule: 'layer', title: 'up, inside a type', path: 'lib/storage/a.ts', source: "export type A = import('../engine/run.ts').A" },
  { rule: 'layer', title: 'up, at run time', path: 'lib/storage/a.ts', source: "export const a = await import('../engine/run.ts')" },
  { rule: 'layer', title: 'up, in a re-export', path: 'lib/storage/a.ts', source: "export { a } from '../engine/run.ts'\nexport const b = 1" },
  { rule: 'layer', title: 'up, by a worker', path: 'lib/storage/a.ts', source: "new Worker(new URL('../engine/run.ts', import.meta.url))" },
  { rule: 'layer', title: 'up, by require', path: 'lib/storage/a.ts', source: "const a = require('../engine/run.ts')" },
  { rule: 'layer', title: 'up to the app', path: 'lib/gateway/a.ts', source: "import app from '../../app.ts'" },
  { rule: 'layer', title: 'sideways', path: 'lib/events/a.ts', source: "import { a } from '../storage/a.ts'" },
  { rule: 'layer', title: 'sideways, to telemetry', path: 'lib/queue/a.ts', source: "import { a } from '../telemetry/a.ts'" },
  { rule: 'layer', title: 'sideways, from protocol to context', path: 'lib/protocol/a.ts', source: "import { a } from '../context/a.ts'" },
  { rule: 'layer', title: 'sideways, beyond the one exception', path: 'lib/context/a.ts', source: "import { a } from '../protocol/events.ts'" },
  { rule: 'layer', title: 'from the errors', path: 'lib/errors.ts', source: "import { a } from './protocol/ids.ts'" },
  { rule: 'layer', title: 'a plugin into a plugin', path: 'plugins/a.ts', source: "import b from './b.ts'" },
  { rule: 'layer', title: 'a plugin into a route', path: 'routes/a.ts', source: "import b from '../plugins/b.ts'" },
  { rule: 'layer', title: 'the library past the plugins', path: 'routes/a.ts', source: "import { b } from '../lib/storage/b.ts'" },
  { rule: 'layer', title: 'a plugin before the app', path: 'telemetry.ts', source: "import b from './plugins/b.ts'" },
  { rule: 'layer', title: 'the library into the verifier', path: 'verify/a.ts', source: "import type { A } from '../lib/context/identity.ts'" },
  { rule: 'layer', title: 'the library into the lint rules', path: 'eslint/a.ts', source: "import type { A } from '../lib/context/identity.ts'" },
  { rule: 'layer', title: 'the verifier into the library', path: 'lib/telemetry/a.ts', source: "import { a } from '../../verify/a.ts'" },
  { rule: 'layer', title: 'values of the protocol into the client', path: 'client/a.ts', source: "import { a } from '../lib/protocol/events.ts'" },
  { rule: 'layer', title: 'values, marked as types one by one', path: 'client/a.ts', source: "import { type A } from '../lib/protocol/events.ts'" },
  { rule: 'layer', title: 'the server into a command', path: 'bin/a.ts', source: "import app from '../app.ts'" },
  { rule: 'layer', title: 'storage into an agent', path: 'agents/a.ts', source: "import { a } from '../lib/storage/a.ts'" },
  { rule: 'layer', title: 'a test into the product', path: 'lib/engine/a.ts', source: "import { a } from '../../test/support/a.ts'" },
  { rule: 'layer', title: 'a file outside the repository', path: 'lib/engine/a.ts', source: "import { a } from '../../../elsewhere.ts'" },
  { rule: 'fastify', title: 'Fastify in the library', path: 'lib/gateway/a.ts', source: "import type { FastifyInstance } from 'fastify'" },
  { rule: 'fastify', title: 'a Fastify plugin in the library', path: 'lib/gateway/a.ts', source: "import websocket from '@fastify/websocket'" },
  { rule: 'fastify', title: 'fastify-plugin in the library', path: 'lib/gateway/a.ts', source: "import fp from 'fastify-plugin'" },
  { rule: 'fastify', title: 'a decoration in the library', path: 'lib/gateway/a.ts', source: "declare module 'fastify' { interface FastifyInstance { a: 1 } }" },
  { rule: 'barrel', title: 'an index', path: 'lib/engine/index.ts', source: 'export const a = 1' },
  { rule: 'barrel', title: 'a barrel of another name', path: 'lib/engine/engine.ts', source: "export { a } from './a.ts'\nexport type { B } from './b.ts'" },
  { rule: 'barrel', title: 'a barrel in two steps', path: 'lib/engine/engine.ts', source: "import { a } from './a.ts'\nexport { a }" },
  { rule: 'barrel', title: 'everything of another file', path: 'lib/engine/engine.ts', source: "export * from './a.ts'\nexport const b = 1" },
  { rule: 'enter-with', title: 'enterWith', path: 'lib/context/a.ts', source: 'export function a (storage) { storage.enterWith(1) }' },
  { rule: 'enter-with', title: 'enterWith by its string', path: 'lib/engine/a.ts', source: "storage['enterWith'](1)" },
  { rule: 'enter-with', title: 'enterWith taken apart', path: 'plugins/a.ts', source: 'const { enterWith: enter } = storage' },
  { rule: 'enter-with', title: 'enterWith in the stage', path: 'testing/stage.ts', source: 'storage.enterWith(1)' },
  { rule: 'enter-with', title: 'enterWith in a benchmark', path: 'bench/a.ts', source: 'storage.enterWith(1)' },
  { rule: 'async-local-storage', title: 'a storage outside the context', path: 'lib/engine/a.ts', source: 'const storage = hooks.AsyncLocalStorage' },
  { rule: 'async-local-storage', title: 'a context manager outside the context', path: 'telemetry.ts', source: "import { AsyncLocalStorageContextManager as Manager } from '@opentelemetry/context-async-hooks'" },
  { rule: 'place', title: 'a file in a folder without a place', path: 'lib/utils/a.ts', source: 'export const a = 1' },
  { rule: 'place', title: 'a script beside the app', path: 'server.js', source: 'listen()' }
]

t.test('an import or a call that the architecture forbids is reported', async (t) => {
  for (const { rule, title, path, source } of forbidden) {
    t.same(judge({ [path]: source }), [`${path} ${rule}`], title)
  }
})

t.test('a second storage is reported, also in the folder of the first and under another name', async (t) => {
  const first = "import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'\nnew AsyncLocalStorageContextManager()"
  const second = "import { AsyncLocalStorage as Store } from 'node:async_hooks'\nnew Store()"
  const derived = "import * as hooks from 'node:async_hooks'\nexport class Store extends hooks.AsyncLocalStorage {}"

  t.same(judge({ 'lib/context/a.ts': first, 'lib/context/b.ts': second }), ['lib/context/b.ts async-local-storage'])
  t.same(judge({ 'lib/context/a.ts': first, 'lib/context/b.ts': derived }), ['lib/context/b.ts async-local-storage'])
})

t.test('a violation says where it is', async (t) => {
  const [violation] = findViolations([{ path: 'lib/events/a.ts', source: "\nimport { a } from '../storage/a.ts'" }])

  t.same(violation, { rule: 'layer', path: 'lib/events/a.ts', line: 2, message: 'lib/events/ does not import lib/storage/' })
})

t.test('OpenTelemetry is there once, in one line of the SDK', async (t) => {
  for (const name of ['package-lock.json', 'node_modules/.package-lock.json']) {
    const lock = JSON.parse(readFileSync(join(root, name), 'utf8')) as Lock // npm's own format

    t.same(findTelemetryProblems(lock), [], name)
  }
})

t.test('a second copy of OpenTelemetry or a mixed SDK is reported', async (t) => {
  const api = { 'node_modules/@opentelemetry/api': { version: '1.10.0' } }
  const nested = { 'node_modules/a/node_modules/@opentelemetry/api': { version: '1.9.0' } }
  const current = { 'node_modules/@opentelemetry/core': { version: '3.1.0' } }
  const former = { 'node_modules/a/node_modules/@opentelemetry/sdk-trace-base': { version: '2.9.0' } }

  t.same(findTelemetryProblems({ packages: { ...api, ...current } }), [])
  t.match(findTelemetryProblems({ packages: { ...api, ...nested, ...current } }), [/^2 copies of @opentelemetry\/api/])
  t.match(findTelemetryProblems({ packages: { ...api, ...current, ...former } }), [/^the SDK in 2 lines/])
  t.match(findTelemetryProblems({ packages: current }), [/^0 copies of @opentelemetry\/api/])
})
