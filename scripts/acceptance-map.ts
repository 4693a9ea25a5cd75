/**
 * Writes the third column of `docs/acceptance.md`: which tests prove a case. A test names its cases at the start of its title
 * (`A1`, or `A11 A12`). `test/acceptance-map.test.ts` fails when the document is not what this script would write.
 */
import { glob, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const root = new URL('../', import.meta.url)
const document = new URL('docs/acceptance.md', root)

const row = /^\| (?<id>[A-KM]\d{1,3}) \| (?<text>.*?) \| (?<tests>.*) \|$/
const title = /\bt\.test\(\s*(?<quote>['"`])(?<title>(?:\\.|(?!\k<quote>).)*)\k<quote>/g
const leadingIds = /^(?:[A-KM]\d{1,3}[ ,]+)+/

/** Titles of tests by the cases that they name. */
export async function testsByCase (): Promise<ReadonlyMap<string, readonly string[]>> {
  const found: { readonly id: string, readonly test: string }[] = []
  for await (const file of glob('test/**/*.test.ts', { cwd: fileURLToPath(root) })) {
    const source = await readFile(new URL(file, root), 'utf8')
    for (const match of source.matchAll(title)) {
      const name = (match.groups?.['title'] ?? '').replaceAll('\\', '')
      const ids = leadingIds.exec(`${name} `)?.[0].match(/[A-KM]\d{1,3}/g) ?? []
      found.push(...ids.map((id) => ({ id, test: `\`${file}\`: ${name.replace(leadingIds, '').replaceAll('|', '\\|')}` })))
    }
  }
  const sorted = found.toSorted((one, other) => one.test.localeCompare(other.test))
  return new Map([...Map.groupBy(sorted, ({ id }) => id)].map(([id, tests]) => [id, tests.map(({ test }) => test)]))
}

/** The document with its third column as it should be, and the cases that no test names. */
export async function mapAcceptance (): Promise<{ readonly current: string, readonly mapped: string, readonly unproved: readonly string[] }> {
  const current = await readFile(document, 'utf8')
  const tests = await testsByCase()
  const unproved: string[] = []
  const mapped = current.split('\n').map((line) => {
    const { id, text } = row.exec(line)?.groups ?? {}
    if (id === undefined) return line
    const proofs = tests.get(id)
    if (proofs === undefined) unproved.push(id)
    return `| ${id} | ${text} | ${proofs?.join('<br>') ?? 'later'} |`
  }).join('\n')
  return { current, mapped, unproved }
}

if (import.meta.main) {
  const { mapped, unproved } = await mapAcceptance()
  await writeFile(document, mapped)
  console.log(`${unproved.length} cases without a test: ${unproved.join(' ')}`)
}
