import { readFile } from 'node:fs/promises'
import t from 'tap'
import { errorCodes, type ErrorCode, ThreadlineError } from '../lib/errors.ts'
import { closeCodes } from '../lib/protocol/close-codes.ts'
import { commandTypes, MultitaskStrategy } from '../lib/protocol/commands.ts'
import { eventTypes, runEventTypes, RunOutcome } from '../lib/protocol/events.ts'

/** Told at start or in a log, never to a client. */
const internal: readonly ErrorCode[] = [
  'THREADLINE_NO_CONTEXT', 'THREADLINE_DATA_FOLDER_LOCKED', 'THREADLINE_MIGRATION_FAILED', 'THREADLINE_INVALID_CONFIGURATION'
]

const document = await readFile(new URL('../docs/protocol.md', import.meta.url), 'utf8')

/** The names in code type that stand in the first column of the table below a heading. */
function listed (heading: string): readonly string[] {
  const [section = ''] = (document.split(`\n## ${heading}\n`)[1] ?? '').split('\n## ')
  const cells = [...section.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)])
  return cells.map(([, name = '']) => name)
}

t.test('docs/protocol.md tells every command, event, error and close code, and no other', async (t) => {
  t.same(listed('Commands').toSorted(), commandTypes.toSorted())
  t.same(listed('Events').toSorted(), eventTypes.toSorted())
  t.same(listed('The life of a run').toSorted(), MultitaskStrategy.anyOf.map((strategy) => strategy.const).toSorted())
  t.same(listed('Errors'), errorCodes.filter((code) => !internal.includes(code)))
})

t.test('docs/protocol.md gives each error its status, and says which can be tried again', async (t) => {
  for (const code of errorCodes.filter((each) => !internal.includes(each))) {
    const { message, statusCode, retryable } = new ThreadlineError(code)
    const again = retryable ? '; the same request can succeed later' : ''

    t.ok(document.includes(`| \`${code}\` | ${message}${again} (${statusCode}) |`), code)
  }
})

t.test('docs/protocol.md gives each close code its reason', async (t) => {
  for (const [reason, code] of Object.entries(closeCodes)) t.match(document, `| ${code} | \`${reason}\` |`)
})

t.test('docs/protocol.md marks exactly the events that are kept, and names every way in which a run ends', async (t) => {
  const kept = [...document.matchAll(/^\| `(\w+)` \| \*\*kept\*\*/gm)].map(([, type]) => type)

  t.same(new Set(kept), new Set(runEventTypes))
  for (const { const: outcome } of RunOutcome.anyOf) t.match(document, `**${outcome}**`)
})
