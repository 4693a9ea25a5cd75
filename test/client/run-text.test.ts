import t from 'tap'
import { RunText } from '../../client/run-text.ts'
import { newRunId, newThreadId } from '../../lib/protocol/ids.ts'
import { someEvent } from '../support/some-events.ts'

const threadId = newThreadId()
const inRun = { thread_id: threadId, run_id: newRunId(threadId) }
const delta = (text: string, run = inRun) => someEvent('agent_delta', { text, step: 0 }, run)

t.test('the text of a run is what its pieces say, and in the end the whole answer', async (t) => {
  const run = new RunText(inRun.run_id, 'There ')

  run.read(delta('are '))
  run.read(delta('none', { thread_id: threadId, run_id: newRunId(threadId) }))
  run.read(delta('thirteen'))
  t.equal(run.text, 'There are thirteen')

  run.read(someEvent('agent_completed', { status: 'completed', content: 'There are thirteen.' }, inRun))
  t.equal(run.text, 'There are thirteen.')
})

// kill: no `agent_resumed` in `read` of client/run-text.ts
t.test('what a run told before it went on in another process is forgotten, and it alone', async (t) => {
  const run = new RunText(inRun.run_id)

  run.read(delta('There '))
  run.read(someEvent('agent_resumed', { attempt: 2 }, { ...inRun, run_id: newRunId(threadId) }))
  t.equal(run.text, 'There ')

  run.read(someEvent('agent_resumed', { attempt: 2 }, inRun))
  t.equal(run.text, '')
  run.read(delta('Thirteen'))
  t.equal(run.text, 'Thirteen')
})
