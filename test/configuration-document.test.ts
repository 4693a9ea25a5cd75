import { readFile } from 'node:fs/promises'
import Fastify from 'fastify'
import t from 'tap'
import config from '../plugins/config.ts'

/** By `fastify.config.ts`, and by the preload, which runs before there is a configuration. */
const readElsewhere: readonly (string | undefined)[] = ['LOG_LEVEL', 'BAGGAGE_HOSTS', 'THREADLINE_TRACE_CHECK']

t.test('docs/configuration.md lists every variable that is read, with its default', async (t) => {
  const document = await readFile(new URL('../docs/configuration.md', import.meta.url), 'utf8')
  const source = await readFile(new URL('../plugins/config.ts', import.meta.url), 'utf8')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(config, { env: {} })

  const sorted = (names: readonly (string | undefined)[]): readonly string[] => names.map(String).toSorted((one, other) => one.localeCompare(other))
  const read = [...source.matchAll(/^ {2}(\w+): setting\('([A-Z_]+)'/gm)]
  const documented = new Map([...document.matchAll(/^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\|/gm)].map(([, name, value]) => [name, value]))

  t.ok(read.length > 30)
  t.same(sorted(read.map(([, , variable]) => variable)), sorted([...documented.keys()].filter((name) => !readElsewhere.includes(name))))
  for (const [, name, variable] of read) {
    const value: unknown = Reflect.get(app.config, name ?? '')
    if (typeof value === 'string' || typeof value === 'number') t.equal(documented.get(variable), String(value), variable ?? '')
  }
})
