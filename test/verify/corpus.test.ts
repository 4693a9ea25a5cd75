import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Finding } from '../../verify/report.ts'
import { ruleIds } from '../../verify/rules/rule.ts'
import { readSpanPath } from '../../verify/sources/span-directory.ts'
import type { Span } from '../../verify/span.ts'
import { verify } from '../../verify/verify.ts'

// Traces of real runs, as the collector wrote them and as Jaeger answered them: `npm run record:traces` made them.

const corpus = join(import.meta.dirname, '../fixtures/traces')
/** Long after: nothing more is awaited. */
const nowMs = Date.now() + 86_400_000

interface Expected { readonly without: string, readonly rule: string, readonly hop: string, readonly also?: readonly string[] }

async function recordingsOf (name: string): Promise<readonly string[]> {
  const files = await readdir(join(corpus, name))
  return files.filter((file) => /^(?:jaeger|traces)/.test(file)).map((file) => join(corpus, name, file))
}

async function expectedOf (name: string): Promise<Expected> {
  return JSON.parse(await readFile(join(corpus, name, 'expected.json'), 'utf8')) as Expected // what the recording script wrote
}

async function spansOf (path: string): Promise<readonly Span[]> {
  const spans: Span[] = []
  const problem = (sentence: string): void => { throw new Error(sentence) }
  for await (const piece of readSpanPath(path, { problem, note: problem })) spans.push(...piece)
  return spans
}

const idsOf = (spans: readonly Span[]) => spans.map(({ traceId, spanId }) => `${traceId} ${spanId}`).toSorted()
const placesOf = (findings: readonly Finding[]) => [...new Set(findings.map(({ rule, hop }) => `${rule} at ${hop}`))]

const seeded = (await readdir(join(corpus, 'seeded'))).map((folder) => `seeded/${folder}`)

t.test('the collector and both APIs of Jaeger tell of the same spans', async (t) => {
  for (const name of ['clean', 'killed', ...seeded]) {
    const told = await Promise.all((await recordingsOf(name)).map(spansOf))

    t.equal(told.length, 4, name)
    for (const spans of told) {
      t.ok(spans.length > 0)
      t.same(idsOf(spans), idsOf(told[0] ?? []), name)
    }
  }
})

t.test('what users did with the service as it is, is clean in every format', async (t) => {
  for (const path of await recordingsOf('clean')) {
    const report = verify(await spansOf(path), { nowMs })

    t.match(report, { verdict: 'clean', findings: [], incomplete: [] }, path)
    t.ok(report.traces.checked > 60)
  }
})

t.test('every rule has a service without one of its lines', async (t) => {
  const rules = await Promise.all(seeded.map(async (name) => (await expectedOf(name)).rule))

  t.same(rules.toSorted(), ruleIds)
})

for (const name of ['killed', ...seeded]) {
  const { without, rule, hop, also = [] } = await expectedOf(name)
  // kill: let any one rule of verify/rules/ find nothing
  t.test(`without ${without} there is ${rule} at ${hop}, in every format`, async (t) => {
    for (const path of await recordingsOf(name)) {
      const { verdict, findings } = verify(await spansOf(path), { nowMs })

      t.equal(verdict, 'findings')
      t.same(placesOf(findings).filter((place) => !also.includes(place)), [`${rule} at ${hop}`], path)
    }
  })
}
