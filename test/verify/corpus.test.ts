import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { allFaults } from '../../testing/all-faults.ts'
import type { Finding } from '../../verify/report.ts'
import { ruleIds } from '../../verify/rules/rule.ts'
import { readSpanPath } from '../../verify/sources/span-directory.ts'
import type { Span } from '../../verify/span.ts'
import { verify } from '../../verify/verify.ts'

// Traces of real runs, as the collector wrote them and as Jaeger answered them: `npm run record:traces` made them; those of the fault kit are made by
// `npm run record:faults`.

const corpus = join(import.meta.dirname, '../fixtures/traces')
/** Long after: nothing more is awaited. */
const nowMs = Date.now() + 86_400_000

interface Expected { readonly without: string, readonly rule: string, readonly hop: string, readonly also?: readonly string[] }

interface ExpectedOfFault { readonly without: string, readonly hop: string, readonly whole: readonly string[], readonly killed: readonly string[] }

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

const faults = await readdir(join(corpus, 'faults'))

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

/** Where a fault does no harm and still shows: the engine refuses what a shared cache has made for another run, so that run has no registry. */
const shown: readonly string[] = ['shared-flight']
/** Which faults the verifier names at their hop without the protection. At the others it is the guard that does, before there is a trace to see. */
const named: readonly string[] = ['client-baggage', 'first-users-loop', 'forged-carrier', 'lost-before-handler', 'lost-carrier', 'shared-flight', 'wrong-channel']

t.test('every fault of the kit has been recorded', async (t) => {
  t.same(faults.toSorted(), allFaults.map(({ name }) => name).toSorted())
})

for (const name of faults) {
  const { without, hop, whole, killed } = JSON.parse(await readFile(join(corpus, 'faults', name, 'expected.json'), 'utf8')) as ExpectedOfFault // what the recording script wrote
  t.test(`the fault ${name} is told as it was recorded, with ${without} and without it`, async (t) => {
    const [seenWhole, seenKilled] = await Promise.all(['whole', 'killed'].map(async (recording) => {
      const { findings } = verify(await spansOf(join(corpus, 'faults', name, `${recording}.jsonl.gz`)), { nowMs })
      return placesOf(findings).toSorted()
    }))

    t.same(seenWhole, whole)
    t.same(seenKilled, killed)
    t.equal(seenWhole?.length === 0, !shown.includes(name), 'no false positive')
    t.equal(seenKilled?.some((place) => place.endsWith(` at ${hop}`)), named.includes(name))
  })
}
