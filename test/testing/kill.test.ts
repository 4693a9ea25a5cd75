import t from 'tap'
import { runKilled, runProgram } from '../../testing/kill.ts'

const timeLimitMs = 60_000
const kill = {
  what: 'the limit of depth',
  file: 'lib/context/identity.ts',
  line: 'export const maxDepth = 10',
  becomes: 'export const maxDepth = 3'
}

/** Arguments of `node` for a program that prints the limit of depth, itself or in a process with an empty environment. */
const printing = ['--input-type=module', '-e', "import { maxDepth } from './lib/context/identity.ts'; console.log(maxDepth)"]
const printingInChild = ['--input-type=module', '-e', `
  import { spawn } from 'node:child_process'
  spawn(process.execPath, ${JSON.stringify(printing)}, { env: {}, stdio: 'inherit' })
`]

t.test('a program runs without the protection, and without any trace of that on the disk', async (t) => {
  const killed = await runKilled(kill, printing, { timeLimitMs })
  const whole = await runProgram(printing, { timeLimitMs })

  t.same(killed, { exitCode: 0, output: '3\n' })
  t.same(whole, { exitCode: 0, output: '10\n' })
})

t.test('a process that the program starts in an environment of its own is without the protection as well', async (t) => {
  // kill: let `handOn` of testing/apply-kill.ts do nothing
  const killed = await runKilled(kill, printingInChild, { timeLimitMs })

  t.same(killed, { exitCode: 0, output: '3\n' })
})

t.test('a second copy of the file is without the protection as well', async (t) => {
  const twice = ['--input-type=module', '-e', `
    import { maxDepth } from './lib/context/identity.ts'
    const copy = await import('./lib/context/identity.ts?copy')
    console.log(maxDepth, copy.maxDepth)
  `]

  const killed = await runKilled(kill, twice, { timeLimitMs })

  t.same(killed, { exitCode: 0, output: '3 3\n' })
})

t.test('a kill that does not hit is an error, and no witness that sleeps', async (t) => {
  const nothing = ['-e', '']

  await t.rejects(runKilled({ ...kill, line: 'export const maxDepth = 11' }, printing, { timeLimitMs }), /has 0 times, and not once/)
  await t.rejects(runKilled({ ...kill, line: 'export' }, printing, { timeLimitMs }), /and not once, the line: export/)
  await t.rejects(runKilled({ ...kill, becomes: 'export const = 3' }, printing, { timeLimitMs }), /is not a program any more: the limit of depth/)
  await t.rejects(runKilled({ ...kill, becomes: 'export const maxDepth = 3, maxDepth = 4' }, printing, { timeLimitMs }), /is not a program/)
  await t.rejects(runKilled(kill, nothing, { timeLimitMs }), /was never loaded: the limit of depth/)
  await t.rejects(runKilled({ ...kill, file: 'lib/context/nowhere.ts' }, printing, { timeLimitMs }), { code: 'ENOENT' })
})

t.test('a program that does not end is ended', async (t) => {
  const waiting = ['-e', "import('./lib/context/identity.ts').then(() => setInterval(() => undefined, 1000))"]

  const { exitCode } = await runKilled(kill, waiting, { timeLimitMs: 5000 })

  t.equal(exitCode, null)
})
