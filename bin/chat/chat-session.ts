import { isClientErrorCode, ThreadlineClientError } from '../../client/client-error.ts'
import type { ClientStatus, ThreadlineClient } from '../../client/threadline-client.ts'
import type { ThreadlineEvent } from '../../client/threadline-event.ts'
import type { ThreadView } from '../../lib/protocol/events.ts'
import { colourOf, type Paint } from './paint.ts'
import { findThread, helpLines, type ChatInput } from './parse-input.ts'
import { oneLine, printable, shortId } from './printable.ts'
import { renderEvent } from './render-event.ts'
import { renderStatus } from './render-status.ts'
import { RunWatch } from './run-watch.ts'
import type { Screen } from './screen.ts'

export interface ChatSettings {
  readonly screen: Screen
  readonly paint: Paint
  readonly url: string
  readonly agent: string | undefined
  /** What the client is to call. */
  readonly connect: (listeners: { onEvent: (event: ThreadlineEvent) => void, onStatus: (status: ClientStatus) => void }) => ThreadlineClient
  /** The client ended by itself. */
  readonly onEnd: () => void
}

/** What came of an input. */
export interface Handled {
  readonly ok: boolean
  /** The run that it started. */
  readonly runId?: string
}

const done: Handled = { ok: true }

/** One person's chat: what is typed becomes commands, what is heard is printed. */
export class ChatSession {
  readonly #settings: ChatSettings
  readonly #client: ThreadlineClient
  readonly #runs = new RunWatch()
  readonly #streamed = new Set<string>()
  #listed: readonly ThreadView[] = []
  #agent: string | undefined
  #prompt = ''
  #error: ThreadlineClientError | undefined

  constructor (settings: ChatSettings) {
    this.#settings = settings
    this.#agent = settings.agent
    this.#client = settings.connect({
      onEvent: (event) => { this.#receive(event) },
      onStatus: (status) => { this.#status(status) }
    })
  }

  /** Connected for the first time. Rejects if that will not be. */
  get ready (): Promise<void> { return this.#client.ready }

  /** Why it ended, if not because it was closed. */
  get error (): ThreadlineClientError | undefined { return this.#error }

  /** Carries out what was typed. Resolves when it is answered; does not wait for the end of a run. */
  async handle (input: ChatInput): Promise<Handled> {
    try {
      return await this.#carryOut(input)
    } catch (error) {
      if (!(error instanceof ThreadlineClientError)) throw error
      // What the server refused was already printed as the event that it is.
      if (isClientErrorCode(error.code)) this.#say(this.#settings.paint('red', `! ${oneLine(error.message)}`))
      return { ok: false }
    }
  }

  /** Whether the run completed; false as well when that cannot be known any more. */
  async completed (runId: string): Promise<boolean> {
    return await this.#runs.outcome(runId) === 'completed'
  }

  async close (): Promise<void> {
    await this.#client.close()
    this.#settings.screen.close()
  }

  #carryOut (input: ChatInput): Handled | Promise<Handled> {
    switch (input.kind) {
      case 'message': return this.#message(input.content)
      case 'switch': return this.#withThread(input.target, (threadId) => this.#switch(threadId))
      case 'delete': return this.#withThread(input.target, (threadId) => this.#client.send({ type: 'delete_thread', payload: { thread_id: threadId } }))
      case 'rename': return this.#withThread('this', (threadId) => this.#client.send({ type: 'rename_thread', payload: { thread_id: threadId, title: input.title } }))
      case 'new': return this.#new(input.title)
      case 'threads': return this.#answered(this.#client.send({ type: 'list_threads', payload: {} }))
      case 'history': return this.#answered(this.#client.send({ type: 'get_thread_history', payload: {} }))
      case 'search': return this.#answered(this.#client.send({ type: 'search_threads', payload: { query: input.query } }))
      case 'again': return this.#again()
      case 'stop': return this.#answered(this.#client.send({ type: 'stop_agent', payload: {} }))
      case 'agent':
        this.#agent = input.name
        return this.#say(input.name === undefined ? 'the service chooses who answers' : `${oneLine(input.name)} answers your next messages`)
      case 'who': return this.#say(...this.#who())
      case 'help': return this.#say(...helpLines)
      case 'invalid': return { ...this.#say(this.#settings.paint('red', `! ${input.message}`)), ok: false }
      case 'nothing':
      case 'quit': return done
    }
  }

  async #message (content: string): Promise<Handled> {
    const payload = { content, ...(this.#agent === undefined ? {} : { agent: this.#agent }) }
    const { payload: { run_id: runId } } = await this.#client.send({ type: 'user_message', payload }, { resend: true })
    // A message that was accepted before a drop may have opened a thread that this connection was never told of.
    if (threadOf(runId) !== this.#client.threadId) await this.#switch(threadOf(runId))
    return { ok: true, runId }
  }

  async #again (): Promise<Handled> {
    const { payload } = await this.#client.send({ type: 'regenerate', payload: {} }, { resend: true })
    return { ok: true, runId: payload.run_id }
  }

  async #new (title: string | undefined): Promise<Handled> {
    const { payload } = await this.#client.send({ type: 'create_thread', payload: title === undefined ? {} : { title } })
    return await this.#answered(this.#switch(payload.thread_id))
  }

  #switch (threadId: string): Promise<unknown> {
    return this.#client.send({ type: 'switch_thread', payload: { thread_id: threadId } })
  }

  async #withThread (target: string, act: (threadId: string) => Promise<unknown>): Promise<Handled> {
    const here = this.#client.threadId
    const found = target !== 'this' ? findThread(target, this.#listed) : here === null ? { problem: 'You are in no thread yet' } : { threadId: here }
    if ('problem' in found) return { ...this.#say(this.#settings.paint('red', `! ${found.problem}`)), ok: false }
    return await this.#answered(act(found.threadId))
  }

  async #answered (answer: Promise<unknown>): Promise<Handled> {
    await answer
    return done
  }

  #receive (event: ThreadlineEvent): void {
    const { screen, paint } = this.#settings
    if (event.type === 'thread_list') this.#listed = event.payload.threads
    if (event.type === 'search_results') this.#listed = event.payload.results.map(({ thread }) => thread)
    const isStreamed = (runId: string): boolean => this.#streamed.has(runId)
    for (const printed of renderEvent(event, { paint, threadId: this.#client.threadId, isStreamed })) screen.print(printed)

    if (event.run_id !== undefined && event.type === 'agent_delta') this.#streamed.add(event.run_id)
    if (event.run_id !== undefined && event.type === 'agent_resumed') this.#streamed.delete(event.run_id)
    if (event.run_id !== undefined && event.type === 'agent_completed') {
      this.#streamed.delete(event.run_id)
      this.#runs.end(event.run_id, event.payload.status)
    }
    if (event.type === 'resync_required') for (const runId of this.#runs.open) void this.#catchUp(runId)
    this.#refreshPrompt()
  }

  #status (status: ClientStatus): void {
    if (status.state === 'connecting') return
    if (status.state === 'closed') {
      this.#error = status.error
      this.#runs.close()
      this.#settings.onEnd()
      return
    }
    const text = renderStatus(status, this.#client.userId ?? '', this.#settings.paint)
    if (text !== undefined) this.#say(text)
    if (status.state === 'ready') this.#refreshPrompt()
  }

  /** A run whose end cannot be told again is known by its answer. */
  async #catchUp (runId: string): Promise<void> {
    try {
      const { payload } = await this.#client.send({ type: 'get_thread_history', thread_id: threadOf(runId), payload: { limit: 10 } })
      const answer = payload.messages.find((message) => message.role === 'assistant' && message.run_id === runId)
      if (answer === undefined) return
      this.#say(...printable(answer.content).split('\n'))
      this.#runs.end(runId, 'completed')
    } catch {
      // Lost again: the next connection asks again. A refusal was printed, and the time limit of whoever waits holds.
    }
  }

  #who (): readonly string[] {
    const { userId, threadId, connectionId } = this.#client
    return [
      `user        ${oneLine(userId ?? 'not connected')}`,
      `thread      ${threadId ?? 'none yet'}`,
      `connection  ${oneLine(connectionId ?? 'none')}`,
      `agent       ${oneLine(this.#agent ?? 'chosen by the service')}`,
      `service     ${this.#settings.url}`
    ]
  }

  #refreshPrompt (): void {
    const { paint, screen } = this.#settings
    const { userId, threadId } = this.#client
    const where = threadId === null ? '' : ` ${paint(colourOf(threadId), shortId(threadId))}`
    const prompt = `${oneLine(userId ?? '', 32)}${where}> `
    if (prompt === this.#prompt) return
    this.#prompt = prompt
    screen.setPrompt(prompt)
  }

  #say (...lines: readonly string[]): Handled {
    for (const text of lines) this.#settings.screen.print({ kind: 'line', text })
    return done
  }
}

/** `run_<thread>_<uuid>`: a run always tells its thread. */
function threadOf (runId: string): string {
  return runId.slice(4, 40)
}
