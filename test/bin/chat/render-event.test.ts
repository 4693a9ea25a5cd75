import { PassThrough } from 'node:stream'
import t from 'tap'
import { createPaint } from '../../../bin/chat/paint.ts'
import { renderEvent, type Printed, type View } from '../../../bin/chat/render-event.ts'
import { renderStatus } from '../../../bin/chat/render-status.ts'
import type { ThreadlineEvent } from '../../../client/threadline-event.ts'
import type { EventType, PayloadOf } from '../../../lib/protocol/events.ts'
import { runId, uuid } from '../../support/scripted-server.ts'
import { messageView, threadView } from '../../support/views.ts'

const threadId = uuid(0xabcdef)
const run = runId(threadId, 0x123456)
const plain: View = { paint: (_style, text) => text, threadId, isStreamed: () => false }
const thread = (id: string, title: string | null): PayloadOf<'thread_created'> => threadView(id, { title })

function event<Name extends EventType> (type: Name, payload: PayloadOf<Name>, envelope: { run_id?: string, user_id?: string, thread_id?: string | null } = {}): ThreadlineEvent {
  return {
    type, event_id: uuid(1), timestamp: '', user_id: 'alice', thread_id: threadId, request_id: uuid(2), ...envelope, payload
  } as unknown as ThreadlineEvent // an event as a frame holds it
}

const lines = (printed: readonly Printed[]): string[] => printed.map((each) => each.kind === 'line' ? each.text : `${each.lead}${each.text}`)
const render = (...given: Parameters<typeof event>): string[] => lines(renderEvent(event(...given), plain))
const inRun = { run_id: run }

t.test('each event is a line that begins with its user, thread and run', async (t) => {
  t.same(render('agent_started', { agent: 'echo', message_id: uuid(3), input: 'hello' }, inRun), ['alice abcdef·123456 ▶ echo ← hello'])
  t.same(render('agent_resumed', { attempt: 2 }, inRun), ['alice abcdef·123456 ↻ goes on in another process: what it has said so far is said again'])
  t.same(render('agent_thinking', { message: 'hm', step: 0 }, inRun), ['alice abcdef·123456 … hm'])
  t.same(render('tool_executing', { tool_call_id: 'a', tool: 'clock', parameters: { zone: 'UTC' } }, inRun), ['alice abcdef·123456 ⚙ clock {"zone":"UTC"}'])
  t.same(render('message_accepted', { message_id: uuid(3), run_id: run, duplicate: false }), ['alice abcdef ✓ accepted'])
  t.same(render('thread_list', { threads: [], total: 0, limit: 20, offset: 0, next_cursor: null }, { thread_id: null }), ['alice no thread no threads yet'])
})

t.test('a delta is a piece of a growing text', async (t) => {
  t.same(renderEvent(event('agent_delta', { text: 'Hel\nlo', step: 1 }, inRun), plain), [
    { kind: 'text', of: run, lead: 'alice abcdef·123456 │ ', text: 'Hel\nlo' }
  ])
})

t.test('a tool tells how long it took and what came of it', async (t) => {
  const completed = { tool_call_id: 'a', tool: 'clock', duration_ms: 12.4 }

  t.same(render('tool_completed', { ...completed, success: true, result: { now: 1 } }), ['alice abcdef ✓ clock 12 ms {"now":1}'])
  t.same(render('tool_completed', { ...completed, success: true }), ['alice abcdef ✓ clock 12 ms '])
  t.same(render('tool_completed', { ...completed, success: false, error: { code: 'THREADLINE_TOOL_FAILED', message: 'no clock', retryable: true } }), ['alice abcdef ✗ clock 12 ms no clock'])
})

t.test('the end of a run tells how it ended, and its text if that was not seen before', async (t) => {
  const completed = { status: 'completed', content: 'one\ntwo', usage: { input_tokens: 3, output_tokens: 4 } } as const

  t.same(render('agent_completed', completed, inRun), ['alice abcdef·123456 ■ completed · 3 + 4 tokens', '  one', '  two'])
  t.same(lines(renderEvent(event('agent_completed', completed, inRun), { ...plain, isStreamed: (id) => id === run })), ['alice abcdef·123456 ■ completed · 3 + 4 tokens'])
  t.same(render('agent_completed', { status: 'cancelled', reason: 'cancelled by the user' }), ['alice abcdef ✗ cancelled: cancelled by the user'])
  t.same(render('agent_completed', { status: 'failed', error: { code: 'THREADLINE_MODEL_FAILED', message: 'no model', retryable: true } }), ['alice abcdef ✗ failed: no model'])
})

t.test('threads are numbered for /switch, and the present one is marked', async (t) => {
  const threads = [thread(uuid(0x111111), 'first'), thread(threadId, null)]

  t.same(render('thread_list', { threads, total: 12, limit: 2, offset: 0, next_cursor: null }), [
    'alice abcdef 2 of 12 threads',
    '   1   thread 111111 first',
    '   2 → thread abcdef untitled'
  ])
})

t.test('what was found is numbered as well', async (t) => {
  const found = { thread: thread(threadId, 'x'), message: null, snippet: 'red «otters»\nswim' }

  t.same(render('search_results', { results: [found], next_cursor: null }), [
    'alice abcdef found in 1 thread', '   1 thread abcdef x', '     red «otters» swim'
  ])
  t.same(render('search_results', { results: [], next_cursor: null }), ['alice abcdef nothing found'])
})

t.test('a history is a line a message', async (t) => {
  const message = { message_id: uuid(4), thread_id: threadId }
  const messages = [messageView({ ...message, role: 'user', content: 'hello' }), messageView({ ...message, role: 'assistant', content: 'a\nb' })]
  const shown = ['   you   hello', '   agent a b']
  const standing = { has_more: false, sequence: 1, epoch: 'a', active_runs: [] }

  t.same(render('thread_history', { messages, has_more: true }), ['alice abcdef 2 messages, and older ones', ...shown])
  t.same(render('thread_switched', { thread: thread(threadId, 'x'), messages, ...standing }), ['alice abcdef → thread abcdef x', ...shown])
  t.same(render('branch_selected', { messages, has_more: false }), ['alice abcdef the thread goes on from here', ...shown])
  t.same(render('resync_required', { reason: 'epoch_changed', thread: thread(threadId, 'x'), messages, ...standing }), [
    'alice abcdef ↻ what was missed is not kept any more; this is the thread now', ...shown
  ])
  t.same(render('resumed', { after: 0, replayed: 2, sequence: 2, epoch: 'a', active_runs: [] }), ['alice abcdef ↻ 2 events told again'])
  t.same(render('resumed', { after: 2, replayed: 0, sequence: 2, epoch: 'a', active_runs: [] }), [])
})

t.test('every other event is a line too, and an unknown one is shown as it came', async (t) => {
  t.same(render('error', { code: 'THREADLINE_RATE_LIMITED', message: 'Too many', retryable: true }), ['alice abcdef ! THREADLINE_RATE_LIMITED: Too many · try again'])
  t.same(render('error', { code: 'THREADLINE_THREAD_NOT_FOUND', message: 'There is none', retryable: false }), ['alice abcdef ! THREADLINE_THREAD_NOT_FOUND: There is none'])
  t.same(render('runs_stopping', { run_ids: [run] }), ['alice abcdef stopping 123456'])
  t.same(render('runs_stopping', { run_ids: [] }), ['alice abcdef nothing runs here'])
  t.same(render('run_queued', { run_id: run, position: 2 }), ['alice abcdef … waits as number 2'])
  t.same(render('thread_created', thread(threadId, 'new')), ['alice abcdef + thread abcdef new'])
  t.same(render('thread_deleted', { thread_id: threadId }), ['alice abcdef − thread abcdef is deleted'])
  t.same(render('presence', { connections: 2 }), ['alice abcdef 2 windows in this thread'])
  t.same(render('presence', { connections: 1 }), ['alice abcdef 1 window in this thread'])
  t.same(render('typing', { is_typing: false, thread_id: threadId }), [])
  t.same(render('pong', {}), [])
  t.same(lines(renderEvent({ type: 'from_the_future', payload: { a: 1 } } as unknown as ThreadlineEvent, plain)), ['? no thread from_the_future {"a":1}'])
})

t.test('nothing that others wrote can move the cursor, recolour, add lines or flood the screen', async (t) => {
  const hostile = '\u001b[2J\u001b[31mred\u009b1A\r\u202eelbadaer\u0007\nbob 222222 ▶ forged'

  for (const text of [
    ...render('agent_started', { agent: hostile, message_id: uuid(3), input: hostile }, { user_id: hostile }),
    ...render('agent_delta', { text: hostile.replace('\n', ' '), step: 0 }), // the screen indents the further lines
    ...render('agent_completed', { status: 'completed', content: hostile }),
    ...render('tool_executing', { tool_call_id: 'a', tool: hostile, parameters: hostile }),
    ...render('thread_created', thread(threadId, hostile)),
    ...render('error', { code: 'THREADLINE_INTERNAL', message: hostile, retryable: true })
  ]) {
    t.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    t.notMatch(text, /^bob/m, 'no line of somebody else')
  }
  t.equal(Array.from(render('thread_created', thread(threadId, 'x'.repeat(5_000)))[0] ?? '').length, 'alice abcdef + thread abcdef '.length + 200)
})

t.test('a status says what became of the connection', async (t) => {
  const status = (given: Parameters<typeof renderStatus>[0]): string | undefined => renderStatus(given, 'alice', plain.paint)

  t.equal(status({ state: 'connecting', attempt: 0 }), undefined)
  t.equal(status({ state: 'closed' }), undefined)
  t.equal(status({ state: 'ready', threadId: null, reconnected: false, missed: null }), '● alice is connected · no thread yet · /help lists the commands')
  t.equal(status({ state: 'ready', threadId, reconnected: true, missed: 0 }), '● connected again · thread abcdef')
  t.match(status({ state: 'ready', threadId, reconnected: true, missed: 3 }), /3 events were missed and follow/)
  t.match(status({ state: 'ready', threadId, reconnected: true, missed: null }), /\/history/)
  t.equal(status({ state: 'reconnecting', attempt: 1, delayMs: 1_234, closeCode: 1001, reason: 'drain' }), '○ the connection is lost (1001 drain); trying again in 1.2 s')
  t.equal(status({ state: 'reconnecting', attempt: 2, delayMs: 0, closeCode: 1006, reason: '' }), '○ still no connection (1006); trying again in 0.0 s')
  t.equal(status({ state: 'reconnecting', attempt: 2, delayMs: 0, closeCode: 1006, reason: 'gone' }), '○ still no connection (gone); trying again in 0.0 s')
  t.equal(status({ state: 'reconnecting', attempt: 2, delayMs: 0, closeCode: 1006, reason: 'There is no service at http://127.0.0.1:3000. Start it.' }),
    '○ still no connection (There is no service at http://127.0.0.1:3000); trying again in 0.0 s')
})

t.test('there are no colours for what is not a terminal', async (t) => {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream // a stream like any other when it is no terminal

  t.equal(createPaint(stream)('red', 'text'), 'text')
})
