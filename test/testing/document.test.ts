import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { allFaults } from '../../testing/all-faults.ts'
import { runProgram } from '../support/run-program.ts'

const document = await readFile(new URL('../../docs/testing.md', import.meta.url), 'utf8')

// kill: the example's first assertion is turned round.
t.test('the example of the document runs as it stands', async (t) => {
  const [, source] = /```ts\n([\s\S]*?)```/.exec(document) ?? []
  t.ok(source, 'there is one')
  const folder = await mkdtemp(join(tmpdir(), 'threadline-example-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  const file = join(folder, 'example.test.mts')
  await writeFile(file, withAddresses(source ?? ''))

  const { exitCode, output } = await runProgram([file])

  t.equal(exitCode, 0, output)
  t.match(output, /pass 2$/m)
})

t.test('the document tells of every fault of the kit, with the hop that is named without its protection', async (t) => {
  for (const { name, hop } of allFaults) {
    const row = document.split('\n').find((line) => line.startsWith(`| \`${name}\` |`))
    t.ok(row?.endsWith(`at \`${hop}\` |`), `${name} at ${hop}`)
  }
})

/** What a team imports by name and path, by its address: the copy stands in no package. */
function withAddresses (source: string): string {
  const addressOf = (path: string): string => new URL(path, import.meta.url).href
  return source
    .replace("'threadline/testing'", `'${addressOf('../../testing/index.ts')}'`)
    .replace(/'\.\.\/(agents\/[^']+)'/g, (_match, path: string) => `'${addressOf(`../../${path}`)}'`)
}
