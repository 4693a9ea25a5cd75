import t from 'tap'
import { findThread, helpLines, parseInput } from '../../../bin/chat/parse-input.ts'
import type { ThreadView } from '../../../lib/protocol/events.ts'
import { uuid } from '../../support/scripted-server.ts'
import { threadView } from '../../support/views.ts'

const view = (threadId: string): ThreadView => threadView(threadId)

t.test('a line is a message unless it begins with a slash', async (t) => {
  t.same(parseInput('  hello there '), { kind: 'message', content: 'hello there' })
  t.same(parseInput('1 / 2'), { kind: 'message', content: '1 / 2' })
  t.same(parseInput('//etc is a folder'), { kind: 'message', content: '/etc is a folder' })
  t.same(parseInput('   '), { kind: 'nothing' })
})

t.test('commands take what they need', async (t) => {
  t.same(parseInput('/threads'), { kind: 'threads' })
  t.same(parseInput('/switch 2'), { kind: 'switch', target: '2' })
  t.same(parseInput('/new'), { kind: 'new', title: undefined })
  t.same(parseInput('/new  a long title '), { kind: 'new', title: 'a long title' })
  t.same(parseInput('/rename better'), { kind: 'rename', title: 'better' })
  t.same(parseInput('/delete this'), { kind: 'delete', target: 'this' })
  t.same(parseInput('/agent researcher'), { kind: 'agent', name: 'researcher' })
  t.same(parseInput('/agent'), { kind: 'agent', name: undefined })
  t.same(parseInput('/search red otters'), { kind: 'search', query: 'red otters' })
  for (const kind of ['history', 'again', 'stop', 'who', 'help', 'quit'] as const) t.same(parseInput(`/${kind}`), { kind })
})

t.test('a command without what it needs, or that does not exist, is told and never sent as a message', async (t) => {
  t.same(parseInput('/switch'), { kind: 'invalid', message: '/switch <number|id>' })
  t.same(parseInput('/search'), { kind: 'invalid', message: '/search <words>' })
  t.same(parseInput('/rename  '), { kind: 'invalid', message: '/rename <title>' })
  t.match(parseInput('/swich 2'), { kind: 'invalid', message: /no \/swich/ })
  t.match(parseInput('/toString'), { kind: 'invalid' })
  t.match(parseInput('/'), { kind: 'invalid' })
})

t.test('help names every command', async (t) => {
  for (const name of ['threads', 'switch', 'new', 'rename', 'delete', 'history', 'search', 'again', 'stop', 'agent', 'who', 'help', 'quit']) {
    t.ok(helpLines.some((line) => line.startsWith(`/${name} `)), name)
  }
})

t.test('a thread is found by its number in the list, its id, or the end of it', async (t) => {
  const listed = [view(uuid(0xa1)), view(uuid(0xb1)), view(uuid(0xb2))]

  t.same(findThread('2', listed), { threadId: uuid(0xb1) })
  t.same(findThread(uuid(7).toUpperCase(), listed), { threadId: uuid(7) }, 'an id need not be listed; the server decides')
  t.same(findThread('0000b2', listed), { threadId: uuid(0xb2) })
  t.match(findThread('0', listed), { problem: /no number 0/ })
  t.match(findThread('4', []), { problem: /no number 4/ })
  t.match(findThread('zz', listed), { problem: /ends with zz/ })
  t.match(findThread('01b', [view(uuid(0x101b)), view(uuid(0x201b))]), { problem: /Several/ })
})
