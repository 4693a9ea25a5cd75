import t, { type Test } from 'tap'
import { builtinTools } from '../../lib/tools/builtin-tools.ts'
import type { ToolCall } from '../../lib/tools/define-tool.ts'

interface Time { readonly utc: string, readonly local: string }

const call: ToolCall = { toolCallId: 'a', idempotencyKey: 'a', signal: new AbortController().signal }

function currentTime (input: { readonly time_zone?: string }): Time {
  const tool = builtinTools.find(({ name }) => name === 'current_time')
  return tool?.execute(input as never, call) as Time // the tool's own promise
}

/** The server stands in Tokyo until the end of the test. */
function standInTokyo (t: Test): void {
  const zone = process.env['TZ']
  process.env['TZ'] = 'Asia/Tokyo'
  t.teardown(() => {
    if (zone === undefined) delete process.env['TZ']
    else process.env['TZ'] = zone
  })
}

t.test('the current time is told in UTC, and locally in the zone that is asked for', async (t) => {
  const before = Date.now()
  const { utc, local } = currentTime({ time_zone: 'Asia/Kolkata' })

  t.ok(Date.parse(utc) >= before && Date.parse(utc) <= Date.now())
  t.match(local, /GMT\+5:30/)
})

t.test('without a zone, or with one that is none, it is UTC, wherever the server stands', async (t) => {
  standInTokyo(t)

  for (const input of [{}, { time_zone: '' }, { time_zone: 'Middle-earth/Shire' }, { time_zone: '../../etc/localtime' }, { time_zone: '\u0000' }]) {
    t.match(currentTime(input).local, /UTC/)
  }
})
