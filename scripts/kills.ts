/**
 * Breaks, in a copy of the project, one line that protects isolation or durability after the other, and runs the tests that claim to
 * notice. Prints a table, and ends with 1 when a test stayed green: `npm run kills`.
 */
import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Kill {
  readonly what: string
  readonly file: string
  readonly line: string
  readonly becomes: string
  /** The test file that has to go red. */
  readonly test: string
}

const kills: readonly Kill[] = [
  {
    what: 'the per-message enterThread',
    file: 'lib/gateway/receive-frame.ts',
    line: '      await enterThread(identity, () => answeringErrors(view, options.logger, async () => {',
    becomes: '      await ((_identity: unknown, fn: () => Promise<void>, _options: unknown) => fn())(identity, () => answeringErrors(view, options.logger, async () => {',
    test: 'test/acceptance/mission.test.ts'
  },
  {
    what: 'the guard',
    file: 'lib/context/guard.ts',
    line: '  if (identity !== undefined && isOwner(identity, owner)) return',
    becomes: '  if (identity === undefined || isOwner(identity, owner) || !isOwner(identity, owner)) return',
    test: 'test/acceptance/isolation.test.ts'
  },
  {
    what: 'the guard before a run is executed',
    file: 'lib/engine/execute-run.ts',
    line: "  guard(run, 'engine')",
    becomes: '',
    test: 'test/acceptance/propagation.test.ts'
  },
  {
    what: 'the row-level security policy',
    file: 'lib/storage/migrations/0002-row-level-security.ts',
    line: '        using (user_id = threadline.current_user_id()) with check (user_id = threadline.current_user_id())',
    becomes: '        using (true) with check (true)',
    test: 'test/storage/row-level-security.test.ts'
  },
  {
    what: 'the identity of a run taken from the queue',
    file: 'lib/engine/enter-run.ts',
    line: '  return enterThread(identity, fn, { parent: parseTraceparent(run.traceparent) })',
    becomes: '  return fn()',
    test: 'test/acceptance/mission.test.ts'
  },
  {
    what: 'the identity of an event taken from the log',
    file: 'lib/events/stored-event-log.ts',
    line: '    enterThread(identity, () => {',
    becomes: '    ((_identity: unknown, fn: () => void, _options: unknown) => { fn() })(identity, () => {',
    test: 'test/acceptance/mission.test.ts'
  },
  {
    what: 'the check of the thread that one command names',
    file: 'lib/gateway/identity-of-command.ts',
    line: '  if (named !== undefined) await threads.require(',
    becomes: "  if (named !== undefined && command.type !== 'typing') await threads.require(",
    test: 'test/contracts/matrix.test.ts'
  },
  {
    what: 'the check of the thread beside the payload',
    file: 'lib/gateway/identity-of-command.ts',
    line: '  for (const other of more) await threads.require(toThreadId(other))',
    becomes: '  void more',
    test: 'test/contracts/matrix.test.ts'
  },
  {
    what: 'the last guard before a thread\'s event is written',
    file: 'lib/gateway/connection.ts',
    line: "    guard({ userId: this.userId, threadId: this.threadId ?? null }, 'socket.send')",
    becomes: '',
    test: 'test/gateway/event-streams.test.ts'
  },
  {
    what: 'the holding back of live events',
    file: 'lib/gateway/connection.ts',
    line: '    if (hold === undefined) return false\n',
    becomes: '    if (hold === undefined || hold.threadId === event.thread_id) return false\n',
    test: 'test/acceptance/resume.test.ts'
  },
  {
    what: 'the memory of what a connection was told',
    file: 'lib/gateway/subscriptions.ts',
    line: '    if (event.sequence <= told.to) return true',
    becomes: '    if (event.sequence <= told.to) return this.send(connection, event, frame)',
    test: 'test/acceptance/resume-at-random.test.ts'
  },
  {
    what: 'the fence of attempt and status before an event is stored',
    file: 'lib/storage/migrations/0007-message-tree-end.ts',
    line: "(run.status = 'queued' or run.status = 'running' and run.attempt = event.attempt)",
    becomes: '(run.status is not null)',
    test: 'test/storage/event-store.test.ts'
  },
  {
    what: 'the place that Last-Event-ID names',
    file: 'lib/protocol/event-stream.ts',
    line: '{ epoch, after: Number(after) }',
    becomes: '{ epoch, after: Number(after) + 1 }',
    test: 'test/acceptance/event-streams.test.ts'
  },
  {
    what: 'the hearing of one run\'s reader',
    file: 'lib/gateway/run-listening.ts',
    line: '    if (event.sequence !== undefined) return event.run_id === this.#runId',
    becomes: '    if (event.sequence !== undefined) return true',
    test: 'test/acceptance/run-streams.test.ts'
  }
]

const root = fileURLToPath(new URL('../', import.meta.url))
const timeLimitMs = 180_000

async function survives (kill: Kill): Promise<boolean> {
  const copy = await mkdtemp(join(tmpdir(), 'threadline-kill-'))
  try {
    await cp(root, copy, { recursive: true, filter: (path) => !['node_modules', '.git', 'data', '.tap', '.run'].includes(basename(path)) })
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'))
    const file = join(copy, kill.file)
    const source = await readFile(file, 'utf8')
    if (source.split(kill.line).length !== 2) throw new Error(`${kill.file} does not have the line once: ${kill.line.trim()}`)
    await writeFile(file, source.replace(kill.line, () => kill.becomes))
    // A file that cannot even be read would turn every test red, and prove nothing.
    if (await exitCodeOf(copy, ['--check', kill.file]) !== 0) throw new Error(`${kill.file} is not a program any more: ${kill.what}`)
    return await passes(copy, kill.test)
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

/** A test that never ends has noticed as well. */
async function passes (folder: string, test: string): Promise<boolean> {
  return await exitCodeOf(folder, [test]) === 0
}

/** Null when it had to be ended. */
async function exitCodeOf (folder: string, command: readonly string[]): Promise<number | null> {
  const child = spawn(process.execPath, command, { cwd: folder, stdio: 'ignore', env: { ...process.env, TAP_TIMEOUT: '60' } })
  const timer = setTimeout(() => { child.kill('SIGKILL') }, timeLimitMs)
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve))
  clearTimeout(timer)
  return code
}

const rows: { broken: string, test: string, outcome: string }[] = []
for (const test of new Set(kills.map((kill) => kill.test))) {
  if (!await passes(root, test)) rows.push({ broken: 'nothing', test, outcome: 'RED WITHOUT A KILL' })
}
for (const kill of kills) {
  const green = await survives(kill)
  rows.push({ broken: kill.what, test: kill.test, outcome: green ? 'SURVIVED' : 'went red' })
}
console.table(rows)
const failed = rows.filter(({ outcome }) => outcome !== 'went red').length
console.log(JSON.stringify({ kills: kills.length, failed }))
process.exitCode = failed === 0 ? 0 : 1
