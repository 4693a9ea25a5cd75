import { createInterface } from 'node:readline/promises'
import { text } from 'node:stream/consumers'
import { WebSocket } from 'ws'
import { connectThreadline } from '../../client/connect.ts'
import { ThreadlineClientError } from '../../client/client-error.ts'
import type { Credentials } from '../../client/threadline-client.ts'
import { parseArguments, usage, type ChatOptions } from './chat-options.ts'
import { ChatSession } from './chat-session.ts'
import { fetchDevelopmentToken } from './development-token.ts'
import { createPaint } from './paint.ts'
import { parseInput, type ChatInput } from './parse-input.ts'
import { createPromptScreen } from './prompt-screen.ts'
import { createPlainScreen, type Screen } from './screen.ts'

export interface ChatStreams {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
}

/** Exit codes: as usual, 0 for what was asked, 1 for what failed, 2 for what was asked wrongly. */
const succeeded = 0
const failed = 1
const misused = 2

/** The whole command. Resolves with the exit code, and leaves nothing open. */
export async function runChat (
  args: readonly string[], environment: Readonly<Record<string, string | undefined>>, streams: ChatStreams
): Promise<number> {
  const parsed = parseArguments(args, environment)
  if (parsed.kind === 'help') {
    streams.stdout.write(usage)
    return succeeded
  }
  if (parsed.kind === 'invalid') {
    streams.stderr.write(`${parsed.message}\n\n${usage}`)
    return misused
  }
  const { options } = parsed
  const credentials = await getCredentials(options).catch((error: unknown) => {
    if (!(error instanceof ThreadlineClientError)) throw error
    streams.stderr.write(`${error.message}\n`)
    return undefined
  })
  if (credentials === undefined) return failed
  return streams.stdin.isTTY && streams.stdout.isTTY && !options.once
    ? await chatWithPerson(options, credentials, streams)
    : await chatWithPipe(options, credentials, streams)
}

/** The first token is fetched here, so that a service that is not there is told at once and not tried for ever. */
async function getCredentials ({ token, url, user }: ChatOptions): Promise<Credentials> {
  if (token !== undefined || user === undefined) return { token: token ?? '' }
  let first: string | undefined = await fetchDevelopmentToken(url, user)
  return {
    async getToken (signal) {
      const fetched = first ?? await fetchDevelopmentToken(url, user, signal)
      first = undefined
      return fetched
    }
  }
}

async function chatWithPerson (options: ChatOptions, credentials: Credentials, { stdin, stdout, stderr }: ChatStreams): Promise<number> {
  const readline = createInterface({ input: stdin, output: stdout, prompt: '' })
  const screen = createPromptScreen(readline, stdout)
  const session = startSession(options, credentials, { screen, stdout, onEnd: () => { readline.close() } })
  readline.on('SIGINT', () => { readline.close() })

  for await (const line of readline) {
    const input = parseInput(line)
    if (input.kind === 'quit') break
    await session.handle(input)
  }
  return await endSession(session, stderr, true)
}

/** Each line as if it had been typed, or with `--once` all of them as one message; then the ends of the runs are waited for. */
async function chatWithPipe (options: ChatOptions, credentials: Credentials, { stdin, stdout, stderr }: ChatStreams): Promise<number> {
  const limit = new AbortController()
  const timer = setTimeout(() => { limit.abort() }, options.timeoutMs)
  const screen = createPlainScreen((text) => { stdout.write(text) })
  const ended = new AbortController()
  const onEnd = (): void => {
    ended.abort()
    stdin.destroy()
  }
  const session = startSession(options, credentials, { screen, stdout, signal: limit.signal, onEnd })
  const outcomes: Promise<boolean>[] = []

  try {
    await session.ready
    const inputs = options.once ? [message(await text(stdin))] : readInputs(stdin, ended.signal)
    for await (const input of inputs) {
      if (input.kind === 'quit') break
      if (leavesThread(input)) await Promise.all(outcomes) // from elsewhere the ends of the runs here cannot be heard
      const { ok, runId } = await session.handle(input)
      outcomes.push(runId === undefined ? Promise.resolve(ok) : session.completed(runId))
    }
  } catch (error) {
    if (session.error === undefined) throw error // otherwise it is the session's end, which is told below
  }
  const ok = (await Promise.all(outcomes)).every(Boolean)
  if (limit.signal.aborted) stderr.write(`There was no end after ${options.timeoutMs / 1000} s\n`)
  clearTimeout(timer)
  stdin.destroy()
  return await endSession(session, stderr, ok)
}

async function * readInputs (stdin: NodeJS.ReadStream, signal: AbortSignal): AsyncGenerator<ChatInput> {
  for await (const line of createInterface({ input: stdin, signal })) yield parseInput(line)
}

function message (content: string): ChatInput {
  return { kind: 'message', content: content.trim() }
}

function leavesThread ({ kind }: ChatInput): boolean {
  return kind === 'switch' || kind === 'new' || kind === 'delete'
}

interface SessionParts {
  readonly screen: Screen
  readonly stdout: NodeJS.WriteStream
  readonly onEnd: () => void
  readonly signal?: AbortSignal
}

function startSession (options: ChatOptions, credentials: Credentials, { screen, stdout, onEnd, signal }: SessionParts): ChatSession {
  const { url, thread, agent } = options
  return new ChatSession({
    screen,
    paint: createPaint(stdout),
    url,
    agent,
    onEnd,
    connect: (listeners) => connectThreadline({
      url,
      WebSocket, // unlike the global one it tells why an upgrade was refused
      ...credentials,
      ...listeners,
      ...(thread === undefined ? {} : { threadId: thread }),
      ...(signal === undefined ? {} : { signal })
    })
  })
}

async function endSession (session: ChatSession, stderr: NodeJS.WriteStream, ok: boolean): Promise<number> {
  const { error } = session
  await session.close()
  if (error !== undefined && error.code !== 'CLIENT_ABORTED') stderr.write(`${error.message}\n`)
  return ok && error === undefined ? succeeded : failed
}
