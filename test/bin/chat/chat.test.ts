import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { runId, startScriptedServer, uuid, type ScriptedConnection, type ScriptedServer } from '../../support/scripted-server.ts'
import { messageView, threadView } from '../../support/views.ts'

const program = join(import.meta.dirname, '../../../bin/chat.ts')
const threadId = uuid(0xabcdef)
const run = runId(threadId, 0x123456)
const inRun = { thread_id: threadId, run_id: run }

interface Chat {
  readonly child: ChildProcessWithoutNullStreams
  readonly ended: Promise<{ readonly code: number | null, readonly stdout: string, readonly stderr: string }>
}

function chat (args: readonly string[], input?: string): Chat {
  const child = spawn(process.execPath, [program, ...args], { env: { PATH: process.env['PATH'] } })
  if (input !== undefined) child.stdin.end(input)
  const code = new Promise<number | null>((resolve) => { child.once('close', resolve) })
  const ended = Promise.all([code, text(child.stdout), text(child.stderr)])
    .then(([code, stdout, stderr]) => ({ code, stdout, stderr }))
  return { child, ended }
}

const as = (server: ScriptedServer, ...more: readonly string[]): string[] => ['--user', 'alice', '--url', server.url, ...more]

async function accept (connection: ScriptedConnection): Promise<Readonly<Record<string, unknown>>> {
  const { id, payload } = await connection.command('user_message')
  connection.send('message_accepted', { message_id: uuid(3), run_id: run, duplicate: false }, { reply_to: id, thread_id: threadId })
  return payload
}

t.test('the chat', async (t) => {
  const server = await startScriptedServer(t)

  t.test('sends a piped message, shows the run and ends with it', async (t) => {
    const { ended } = chat(as(server, '--once'), 'hi\n')
    const connection = await server.connection()
    connection.establish(threadId)

    t.match(connection.token, /^alice-/)
    t.same(await accept(connection), { content: 'hi' })
    connection.send('agent_started', { agent: 'echo', message_id: uuid(3), input: 'hi' }, { ...inRun, sequence: 1 })
    connection.send('agent_delta', { text: 'Hello ', step: 0 }, { ...inRun, sequence: 2 })
    connection.send('agent_delta', { text: 'alice', step: 0 }, { ...inRun, sequence: 3 })
    connection.send('agent_completed', { status: 'completed', content: 'Hello alice' }, { ...inRun, sequence: 4 })

    const { code, stdout, stderr } = await ended
    t.equal(code, 0)
    t.equal(stderr, '')
    t.same(stdout.trimEnd().split('\n'), [
      '● alice is connected · thread abcdef · /help lists the commands',
      'alice abcdef ✓ accepted',
      'alice abcdef·123456 ▶ echo ← hi',
      'alice abcdef·123456 │ Hello alice',
      'alice abcdef·123456 ■ completed'
    ])
    t.equal((await connection.closed).code, 1000)
  })

  // kill: no `agent_resumed` in `#receive` of bin/chat/chat-session.ts
  t.test('shows the whole answer of a run that went on in another process and has said nothing there', async (t) => {
    const { ended } = chat(as(server, '--once'), 'hi\n')
    const connection = await server.connection()
    connection.establish(threadId)
    await accept(connection)

    connection.send('agent_delta', { text: 'Hello ', step: 0 }, { ...inRun, sequence: 1 })
    connection.send('agent_resumed', { attempt: 2 }, { ...inRun, sequence: 2 })
    connection.send('agent_completed', { status: 'completed', content: 'Hello alice' }, { ...inRun, sequence: 3 })

    t.same((await ended).stdout.trimEnd().split('\n').slice(-4), [
      'alice abcdef·123456 │ Hello ',
      'alice abcdef·123456 ↻ goes on in another process: what it has said so far is said again',
      'alice abcdef·123456 ■ completed',
      '  Hello alice'
    ])
  })

  t.test('fails when the run does', async (t) => {
    const { ended } = chat(as(server, '--once'), 'hi')
    const connection = await server.connection()
    connection.establish(threadId)
    await accept(connection)

    connection.send('agent_completed', { status: 'timed_out' }, { ...inRun, sequence: 1 })

    t.equal((await ended).code, 1)
  })

  t.test('fails when the message is refused, and shows why once', async (t) => {
    const { ended } = chat(as(server, '--once', '--agent', 'nobody'), 'hi')
    const connection = await server.connection()
    connection.establish(threadId)
    const { id, payload } = await connection.command()

    connection.send('error', { code: 'THREADLINE_AGENT_NOT_FOUND', message: 'There is no such agent', retryable: false }, { reply_to: id })

    const { code, stdout, stderr } = await ended
    t.equal(payload['agent'], 'nobody')
    t.equal(code, 1)
    t.equal(`${stdout}${stderr}`.match(/no such agent/g)?.length, 1)
  })

  t.test('carries out piped lines one after the other, and waits for all runs at the end', async (t) => {
    const { ended } = chat(as(server), '/new plans\nhello\n/threads\n')
    const connection = await server.connection()
    connection.establish(null)
    const created = await connection.command()
    t.same(created.payload, { title: 'plans' })
    const thread = threadView(threadId, { title: 'plans' })
    connection.send('thread_created', thread, { reply_to: created.id })
    const switching = await connection.command()
    t.match(switching, { type: 'switch_thread', payload: { thread_id: threadId } })
    connection.send('thread_switched', { thread, messages: [], has_more: false, sequence: 0, epoch: 'first', active_runs: [] }, { reply_to: switching.id, thread_id: threadId })
    await accept(connection)
    const list = await connection.command('list_threads')

    connection.send('thread_list', { threads: [thread], total: 1, limit: 20, offset: 0, next_cursor: null }, { reply_to: list.id, thread_id: threadId })
    connection.send('agent_completed', { status: 'completed' }, { ...inRun, sequence: 1 })

    const { code, stdout } = await ended
    t.equal(code, 0)
    t.match(stdout, /1 → thread abcdef plans/)
    t.match(stdout, /■ completed/)
  })

  t.test('does not leave a thread in which a piped run has not ended', async (t) => {
    const { ended } = chat(as(server), `hello\n/switch ${uuid(7)}\n`)
    const connection = await server.connection()
    connection.establish(threadId)
    await accept(connection)
    connection.send('agent_started', { agent: 'echo', message_id: uuid(3), input: 'hello' }, { ...inRun, sequence: 1 })
    for (let trip = 0; trip < 5; trip++) await connection.roundTrip() // time to do it wrong

    t.same(connection.unread, [])
    connection.send('agent_completed', { status: 'completed' }, { ...inRun, sequence: 2 })
    const { id } = await connection.command('switch_thread')
    connection.send('thread_switched', { thread: threadView(uuid(7)), messages: [], has_more: false, sequence: 0, epoch: 'first', active_runs: [] }, { reply_to: id })

    t.equal((await ended).code, 0)
  })

  t.test('goes on in its thread after a drop, says so, and sends the message again under its id', async (t) => {
    const { child, ended } = chat(as(server, '--once', '--thread', threadId), 'hi')
    const connection = await server.connection()
    connection.establish(connection.threadId)
    const { id } = await connection.command()
    connection.drop()

    const next = await server.connection()
    next.establish(next.threadId)
    const again = await next.command()
    next.send('message_accepted', { message_id: uuid(3), run_id: run, duplicate: true }, { reply_to: again.id })
    next.send('agent_completed', { status: 'completed' }, { ...inRun, sequence: 1 })

    const { code, stdout } = await ended
    t.equal(next.threadId, threadId)
    t.not(next.token, connection.token, 'with a fresh token')
    t.equal(again.id, id)
    t.equal(code, 0)
    t.match(stdout, /○ the connection is lost \(1006\)/)
    t.match(stdout, /● connected again · thread abcdef/)
    t.equal(child.exitCode, 0)
  })

  t.test('finds the answer of a run that ended during a drop', async (t) => {
    const { ended } = chat(as(server, '--once'), 'hi')
    const connection = await server.connection()
    connection.establish(threadId)
    await accept(connection)
    connection.send('agent_started', { agent: 'echo', message_id: uuid(3), input: 'hi' }, { ...inRun, sequence: 1 })
    connection.drop()

    const next = await server.connection()
    next.establish(next.threadId, { sequence: 5, epoch: 'second' })
    next.send('resync_required', {
      reason: 'epoch_changed', thread: threadView(threadId), messages: [], has_more: false, sequence: 5, epoch: 'second', active_runs: []
    })
    const history = await next.command('get_thread_history')
    next.send('thread_history', {
      messages: [messageView({ message_id: uuid(4), thread_id: threadId, run_id: run, role: 'assistant', content: 'the answer' })], has_more: false
    }, { reply_to: history.id })

    const { code, stdout } = await ended
    t.equal(history.thread_id, threadId)
    t.equal(code, 0)
    t.match(stdout, /the answer/)
  })

  t.test('goes to the thread that its message had opened before a drop', async (t) => {
    const { ended } = chat(as(server, '--once'), 'hi')
    const connection = await server.connection()
    connection.establish(null)
    await connection.command()
    connection.drop()
    const next = await server.connection()
    next.establish(null)
    const { id } = await next.command()

    next.send('message_accepted', { message_id: uuid(3), run_id: run, duplicate: true }, { reply_to: id })
    const switching = await next.command()
    t.match(switching, { type: 'switch_thread', payload: { thread_id: threadId } })
    next.send('thread_switched', { thread: threadView(threadId), messages: [], has_more: false, sequence: 0, epoch: 'first', active_runs: [] }, { reply_to: switching.id })
    next.send('agent_completed', { status: 'completed' }, { ...inRun, sequence: 1 })

    t.equal((await ended).code, 0)
  })

  for (const once of [['--once'], []]) {
    t.test(`ends at once when the server does not want it, its input still open (${once.join('') || 'lines'})`, async (t) => {
      const { ended } = chat(as(server, ...once))
      const connection = await server.connection()
      connection.establish(threadId)

      connection.close(4403, 'origin')

      const { code, stderr } = await ended
      t.equal(code, 1)
      t.match(stderr, /the origin is not allowed \(4403, origin\)/)
    })
  }

  t.test('gives up after its time limit', async (t) => {
    const { ended } = chat(as(server, '--once', '--timeout', '1'), 'hi')
    const connection = await server.connection()
    connection.establish(threadId)
    await accept(connection)

    const { code, stderr } = await ended
    t.equal(code, 1)
    t.match(stderr, /no end after 1 s/)
  })

  t.test('uses a token that it is given, and asks for none', async (t) => {
    server.answerTokens((_user, response) => { response.writeHead(500).end() })
    const { ended } = chat(['--token', 'mine', '--url', server.url], '/quit\n')
    const connection = await server.connection()
    connection.establish(null)

    t.equal(connection.token, 'mine')
    t.equal((await ended).code, 0)
  })

  t.test('says what to do when the service gives no development tokens', async (t) => {
    server.answerTokens((_user, response) => { response.writeHead(404).end('{}') })

    const { code, stderr } = await chat(as(server, '--once'), 'hi').ended

    t.equal(code, 1)
    t.match(stderr, /Pass one with --token/)
  })

  t.test('says why the service refuses a token', async (t) => {
    server.answerTokens((_user, response) => {
      response.writeHead(400).end(JSON.stringify({ error: { code: 'THREADLINE_INVALID_CONTEXT', message: 'user_id is not a user id', request_id: uuid(1) } }))
    })

    const { code, stderr } = await chat(as(server), '').ended

    t.equal(code, 1)
    t.match(stderr, /user_id is not a user id/)
  })
})

t.test('without a service the chat says how to start one', async (t) => {
  const server = await startScriptedServer(t)
  await server.close()

  const { code, stderr } = await chat(as(server), 'hi\n').ended

  t.equal(code, 1)
  t.match(stderr, /There is no service at .*npm start/)
  t.notMatch(stderr, /at async/, 'no stack')
})

t.test('without a user the chat explains itself', async (t) => {
  const { code, stderr } = await chat([], '').ended
  const help = await chat(['--help'], '').ended

  t.equal(code, 2)
  t.match(stderr, /--user <name>/)
  t.equal(help.code, 0)
  t.match(help.stdout, /--once/)
})
