/**
 * Takes one line that protects isolation or durability after the other away, as it is loaded, and runs the tests that claim to notice.
 * Prints a table, and ends with 1 when a test stayed green: `npm run kills`.
 */
import type { Kill } from '../testing/fault.ts'
import { runKilled, runProgram } from '../testing/kill.ts'

interface TestedKill extends Kill {
  /** The test file that has to go red. */
  readonly test: string
}

const kills: readonly TestedKill[] = [
  {
    what: 'the per-message enterThread',
    file: 'lib/gateway/receive-frame.ts',
    line: '      return await enterThread(identity, () => answeringErrors(view, options.logger, async () => {',
    becomes: '      return await (<T>(_identity: unknown, fn: () => T, _options: unknown) => fn())(identity, () => answeringErrors(view, options.logger, async () => {',
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
    line: '  return enterThread(identity, () => fn(true), { parent: parseTraceparent(traceparent) })',
    becomes: '  return fn(true)',
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

const timed = { timeLimitMs: 180_000, env: { ...process.env, TAP_TIMEOUT: '60' } }

const rows: { broken: string, test: string, outcome: string }[] = []
for (const test of new Set(kills.map((kill) => kill.test))) {
  const { exitCode } = await runProgram([test], timed)
  if (exitCode !== 0) rows.push({ broken: 'nothing', test, outcome: 'RED WITHOUT A KILL' })
}
for (const kill of kills) {
  // A test that never ends has noticed as well.
  const { exitCode } = await runKilled(kill, [kill.test], timed)
  rows.push({ broken: kill.what, test: kill.test, outcome: exitCode === 0 ? 'SURVIVED' : 'went red' })
}
console.table(rows)
const failed = rows.filter(({ outcome }) => outcome !== 'went red').length
console.log(JSON.stringify({ kills: kills.length, failed }))
process.exitCode = failed === 0 ? 0 : 1
