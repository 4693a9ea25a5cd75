/**
 * Makes `test/fixtures/traces/faults/` anew: the spans of each fault of the kit, with all protections (`whole`) and without the one line that
 * protects from it (`killed`), as OTLP's JSON. `expected.json` says which finding the verifier has at which hop. `npm run record:faults`, or with
 * names of faults to make only those.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { allFaults } from '../testing/all-faults.ts'
import type { Fault } from '../testing/fault.ts'
import { runKilled, runProgram, type EndedProgram } from '../testing/kill.ts'
import { readSpanPath } from '../verify/sources/span-directory.ts'
import type { Span } from '../verify/span.ts'
import { verify } from '../verify/verify.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const target = join(root, 'test/fixtures/traces/faults')
const recorder = fileURLToPath(new URL('./observability/fault-recorder.ts', import.meta.url))
const limits = { timeLimitMs: 300_000 }

async function record (fault: Fault, folder: string): Promise<void> {
  const files = { whole: join(folder, 'whole.jsonl'), killed: join(folder, 'killed.jsonl') }
  // Stacks name files by their paths.
  const args = (file: string): readonly string[] => ['--stack-trace-limit=0', recorder, fault.name, file]
  refuseFailure(await runProgram(args(files.whole), limits))
  refuseFailure(await runKilled(fault.kill, args(files.killed), limits))

  const kept = join(target, fault.name)
  await rm(kept, { recursive: true, force: true })
  await mkdir(kept, { recursive: true })
  for (const [name, file] of Object.entries(files)) await writeFile(join(kept, `${name}.jsonl.gz`), gzipSync(await checked(file), { level: 9 }))
  const expected = { title: fault.title, without: fault.kill.what, hop: fault.hop, whole: await placesIn(files.whole), killed: await placesIn(files.killed) }
  await writeFile(join(kept, 'expected.json'), `${JSON.stringify(expected, null, 2)}\n`)
  console.log(`${fault.name}: ${expected.whole.join(', ') || 'nothing'}; without its protection ${expected.killed.join(', ') || 'nothing'}`)
}

function refuseFailure ({ exitCode, output }: EndedProgram): void {
  if (exitCode !== 0) throw new Error(output)
}

async function checked (file: string): Promise<Buffer> {
  const content = await readFile(file)
  const told = [hostname(), root, tmpdir()].find((word) => word.length > 2 && content.includes(word))
  if (told !== undefined) throw new Error(`The recording tells ${told}`)
  return content
}

async function placesIn (file: string): Promise<readonly string[]> {
  const spans: Span[] = []
  const problem = (sentence: string): void => { throw new Error(sentence) }
  for await (const piece of readSpanPath(file, { problem, note: problem })) spans.push(...piece)
  const { findings } = verify(spans, { nowMs: Date.now() + 86_400_000 })
  return [...new Set(findings.map(({ rule, hop }) => `${rule} at ${hop}`))].toSorted()
}

const wanted = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'threadline-faults-'))
try {
  for (const fault of allFaults) if (wanted.length === 0 || wanted.includes(fault.name)) await record(fault, folder)
} finally {
  await rm(folder, { recursive: true, force: true })
}
