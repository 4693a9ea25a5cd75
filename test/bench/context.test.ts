import { readFileSync } from 'node:fs'
import t from 'tap'
import { runProgram } from '../support/run-program.ts'

interface Spread { readonly median: number, readonly min: number, readonly max: number }
interface Figures {
  readonly context: {
    readonly rounds: number
    readonly messages: Readonly<Record<string, number>>
    readonly variants: Readonly<Record<string, { readonly microseconds: Spread, readonly ratio: Spread }>>
  }
}

t.test('K131 the script measures the same echo with and without identity side by side, and prints the overhead as a ratio', async (t) => {
  const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { scripts: Record<string, string> } // ours
  const [command = '', ...args] = scripts['bench:context']?.split(' ') ?? []

  const { exitCode, output, errors } = await runProgram([...args, '--rounds', '2', '--seconds', '1', '--only', 'b,c'])

  t.equal(command, 'node')
  t.equal(exitCode, 0, errors)
  const lines = output.trimEnd().split('\n')
  const { context: { rounds, messages, variants } } = JSON.parse(lines.at(-1) ?? '') as Figures // what the script prints
  t.equal(rounds, 2)
  t.same(Object.keys(variants), ['a', 'b', 'c'])
  t.strictSame(variants['a']?.ratio, { median: 1, min: 1, max: 1 }, 'the bare echo is what the others are compared with')
  for (const [id, { microseconds, ratio }] of Object.entries(variants)) {
    t.ok((messages[id] ?? 0) > 0)
    for (const { min, median, max } of [microseconds, ratio]) t.ok(min > 0 && min <= median && median <= max && Number.isFinite(max), id)
  }
  for (const [id, title] of [['b', '@fastify/websocket echo'], ['c', 'b, identity entered and read 3 times']] as const) {
    const row = lines.find((line) => line.startsWith(id) && line.includes(title)) ?? ''
    t.ok(row.includes(` ${variants[id]?.ratio.median.toFixed(2)} `), `the table says so too: ${row}`)
  }
})
