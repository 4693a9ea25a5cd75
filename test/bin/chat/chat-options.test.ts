import t from 'tap'
import { parseArguments } from '../../../bin/chat/chat-options.ts'

const threadId = '01a207a2-81eb-7666-8a34-c63e4ffe7394'

t.test('a user is all that is needed', async (t) => {
  t.same(parseArguments(['--user', 'alice'], {}), {
    kind: 'chat',
    options: {
      url: 'http://127.0.0.1:3000', user: 'alice', token: undefined, thread: undefined, agent: undefined, once: false, timeoutMs: 120_000
    }
  })
})

t.test('a token can stand for the user, also from the environment', async (t) => {
  t.match(parseArguments(['--token', 'mine'], { THREADLINE_TOKEN: 'other' }), { options: { token: 'mine', user: undefined } })
  t.match(parseArguments([], { THREADLINE_TOKEN: 'other' }), { options: { token: 'other' } })
})

t.test('everything else can be said', async (t) => {
  t.match(parseArguments(['--user', 'a', '--url', 'https://chat.example', '--thread', threadId, '--agent', 'y', '--once', '--timeout', '5'], {}), {
    options: { url: 'https://chat.example', thread: threadId, agent: 'y', once: true, timeoutMs: 5_000 }
  })
  t.same(parseArguments(['--help'], {}), { kind: 'help' })
})

t.test('what cannot be meant is refused with a sentence', async (t) => {
  t.match(parseArguments([], {}), { kind: 'invalid', message: /--user/ })
  t.match(parseArguments(['--user', 'a', '--url', 'localhost'], {}), { kind: 'invalid', message: /address/ })
  t.match(parseArguments(['--user', 'a', '--url', 'file:///x'], {}), { kind: 'invalid', message: /address/ })
  t.match(parseArguments(['--user', 'a', '--thread', threadId.slice(-6)], {}), { kind: 'invalid', message: /whole id of a thread.*\/who/ })
  t.match(parseArguments(['--user', 'a', '--timeout', 'soon'], {}), { kind: 'invalid', message: /seconds/ })
  t.match(parseArguments(['--user', 'a', '--timeout', '0'], {}), { kind: 'invalid', message: /seconds/ })
  t.match(parseArguments(['--usr', 'a'], {}), { kind: 'invalid', message: /--usr/ })
  t.match(parseArguments(['--user', 'a', 'hello'], {}), { kind: 'invalid' })
})
