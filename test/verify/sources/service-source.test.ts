import t from 'tap'
import { readServiceRuns, readServiceThread, type ServiceOptions } from '../../../verify/sources/service-source.ts'
import type { Span } from '../../../verify/span.ts'
import { verify } from '../../../verify/verify.ts'
import { recordedAnswer, startRecordedServer } from '../../support/recorded-server.ts'
import { allSpans, hear, type Heard } from '../../support/span-files.ts'
import { startService } from '../../support/start-service.ts'

function reading (heard: Heard, url: string, token: string | undefined): ServiceOptions {
  const isSettled = (spans: readonly Span[]): boolean => verify(spans, { lateMs: 100 }).incomplete.length === 0
  return { url, token, timeoutMs: 10_000, notices: heard, isSettled, waitMs: 20_000, pollMs: 50 }
}

t.test('the spans of a run, and of all runs of a thread, are read from a service that runs, and can be verified', async (t) => {
  const service = await startService(t, { DATA_DIR: 'memory' })
  const [socket, token, stranger] = [await service.connect('alice'), await service.token('alice'), await service.token('bob')]
  const runs: string[] = []
  let thread = ''
  for (const content of ['hello', 'what time is it?']) {
    const { run_id: runId = '', thread_id: threadId } = await socket.chat(content)
    runs.push(runId)
    thread = threadId ?? ''
  }
  const heard = hear()

  const one = await allSpans(readServiceRuns(runs.slice(0, 1), reading(heard, service.url, token)))
  const both = await allSpans(readServiceThread(thread, [], reading(heard, service.url, token)))

  t.match(verify(one, { lateMs: 0 }), { verdict: 'clean', traces: { checked: 1 }, findings: [], incomplete: [] })
  t.match(verify(both, { lateMs: 0 }), { verdict: 'clean', traces: { checked: 2 }, findings: [], incomplete: [] })
  t.same(heard.problems, [])
  t.match(one.find(({ name }) => name === 'socket.receive'), { kind: 'server', attributes: { 'user.id': 'alice', 'threadline.hop': 'socket.receive' } })

  await t.test('and by nobody else', async (t) => {
    for (const [whose, problem] of [[stranger, /404 was answered/], [undefined, /401 was answered.*THREADLINE_TOKEN/]] as const) {
      const heard = hear()

      const found = await allSpans(readServiceRuns(runs, reading(heard, service.url, whose)))
      const ofThread = await allSpans(readServiceThread(thread, [], reading(heard, service.url, whose)))

      t.same([...found, ...ofThread], [])
      t.match(heard.problems, [problem, problem, problem])
    }
  })
})

// kill: in readServiceRuns, do not tell the reasons.
t.test('what a service reports that no span shows is a problem, whatever its verdict', async (t) => {
  const told = {
    verdict: 'clean',
    spans: [{ trace_id: 'a'.repeat(32), span_id: 'b'.repeat(16), name: 'x', started_at: 1, ended_at: 2, attributes: { 'user.id': 'alice', odd: {} } }, { trace_id: 7 }],
    findings: [{ message: 'Events of the run were written to a connection of another-user-1', span_id: null }, { message: 'seen in a span', span_id: 'b'.repeat(16) }],
    incomplete: ['The process was started after the run was accepted'],
    violations: [{ place: 'guard' }]
  }
  const { url } = await startRecordedServer(t, (_url, response) => { recordedAnswer(response, JSON.stringify(told)) })
  const heard = hear()

  const spans = await allSpans(readServiceRuns(['run_1'], { ...reading(heard, url, 'token'), isSettled: () => true }))

  t.match(spans, [{ traceId: 'a'.repeat(32), startedAt: 1, endedAt: 2, attributes: { 'user.id': 'alice' } }])
  t.same(heard.problems, [
    'Run run_1: The process was started after the run was accepted',
    'Run run_1: 1 of its spans have no valid ids',
    'Run run_1: the service reports: Events of the run were written to a connection of another-user-1',
    'Run run_1: the service has refused 1 uses of another identity in it'
  ])
})

t.test('a token that cannot be sent is not shown', async (t) => {
  const heard = hear()

  await allSpans(readServiceRuns(['run_1'], reading(heard, 'http://127.0.0.1:9', 'secret\ntoken')))

  t.match(heard.problems, [/such as the token, is no header/])
  t.notMatch(heard.problems.join(), /secret/)
})

t.test('what is no answer of the service is a problem', async (t) => {
  const answers = [['<html></html>', /instead of JSON/], ['[]', /200 was answered/], ['{}', /has no spans of it/], ['{"spans":{"a":1},"findings":7}', /has no spans of it/]] as const
  for (const [body, problem] of answers) {
    const { url } = await startRecordedServer(t, (_url, response) => { recordedAnswer(response, body) })
    const heard = hear()

    const spans = await allSpans(readServiceRuns(['run_1'], { ...reading(heard, url, 'token'), waitMs: 0 }))

    t.same(spans, [])
    t.match(heard.problems, [problem])
  }
})

t.test('runs of a thread that are too many to be looked at are a problem', async (t) => {
  const page = JSON.stringify({ runs: Array.from({ length: 100 }, (_, index) => ({ run_id: `run_${index}` })), has_more: true })
  const { url, asked } = await startRecordedServer(t, ({ pathname }, response) => { recordedAnswer(response, pathname.endsWith('/runs') ? page : '{}') })
  const heard = hear()

  await allSpans(readServiceThread('thread_1', [], { ...reading(heard, url, 'token'), waitMs: 0 }))

  t.equal(asked.filter(({ pathname }) => pathname.endsWith('/runs')).length, 2)
  t.equal(heard.problems[0], 'Could not read all runs of thread thread_1: only the last 200 were looked at')
})
