/**
 * What the verifier takes: spans per second, and memory at its peak, at 10,000, 100,000 and 1,000,000 spans.
 *
 *   npm run bench:verify
 *   node bench/verify.ts --spans 1000000
 *
 * Each number of spans is a file as a collector writes it, of traces of 20 spans that lie one in the other, read and verified in a process of its
 * own. Ends with one line of JSON.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Verified, VerifiedSpans } from './servers/verified-spans.ts'
import { readCount, runBench } from './support/command-line.ts'
import { startProgram } from './support/program.ts'
import { writeSpanFile } from './support/span-file.ts'
import { formatTable } from './support/table.ts'

const { values } = parseArgs({
  options: { spans: { type: 'string' }, timeout: { type: 'string', default: '900' } }
})
const counts = values['spans'] === undefined ? [10_000, 100_000, 1_000_000] : [readCount('spans', values['spans'])]
const timeoutSeconds = readCount('timeout', values['timeout'])

interface Measured extends Verified { readonly fileMegabytes: number }

const limit = new AbortController()
const folder = await mkdtemp(join(tmpdir(), 'threadline-bench-'))
await runBench(bench, timeoutSeconds, limit)
await rm(folder, { recursive: true, force: true, maxRetries: 5 })

async function bench (): Promise<void> {
  const measured: Measured[] = []
  for (const count of counts) measured.push(await measure(count))
  report(measured)
}

async function measure (count: number): Promise<Measured> {
  const path = join(folder, `${count}.jsonl`)
  await writeSpanFile(path, count)
  const program = startProgram<VerifiedSpans>(new URL('servers/verified-spans.ts', import.meta.url), { signal: limit.signal })
  const verified = await program.ask('verify', path)
  await program.end()
  const { size } = await stat(path)
  await rm(path)
  return { ...verified, fileMegabytes: size / 1024 ** 2 }
}

function report (measured: readonly Measured[]): void {
  console.log(`Traces of 20 spans, read from a file and verified; Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n`)
  console.log(formatTable([['spans', 'file, MB', 'seconds', 'spans/s', 'peak memory, MB'], ...measured.map(({ spans, fileMegabytes, seconds, maxMegabytes }) =>
    [String(spans), fileMegabytes.toFixed(0), seconds.toFixed(2), (spans / seconds).toFixed(0), maxMegabytes.toFixed(0)])]))
  console.log(JSON.stringify({ verify: measured.map(({ spans, seconds, maxMegabytes }) => ({
    spans, seconds: Number(seconds.toFixed(3)), spansPerSecond: Math.round(spans / seconds), maxMegabytes: Math.round(maxMegabytes)
  })) }))
}
