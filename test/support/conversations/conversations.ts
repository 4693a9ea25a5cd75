import { setImmediate as turn } from 'node:timers/promises'
import { isRunId, type RunId } from '../../../lib/protocol/ids.ts'
import type { ServerEvent } from '../../../lib/protocol/events.ts'
import { endOfRun } from '../run-end.ts'
import type { TestServer } from '../start-server.ts'
import type { Sendable } from '../test-socket.ts'
import { within } from '../within.ts'
import { userOf, knowThread, type Model, type ModelUser, type SentMessage, type StopReason } from './model.ts'
import type { PlannedAgent } from './planned-agent.ts'
import { isEvent } from '../is-event.ts'
import { Tab } from './tab.ts'

/** Where the content of a message begins, wherever it is repeated: it names its user. */
const markers = /[a-z0-9]+-[a-z]:/g

export interface Asking {
  readonly judge: (answer: ServerEvent) => void
  /** Whether to wait for the answer; else it is judged when it comes. */
  readonly wait?: boolean
  /** Runs may be stopped by it, also such as are accepted before it is answered. */
  readonly stops?: StopReason | undefined
}

/** Of pino: `error` and `fatal`. */
const errorLevel = 50

/** Some users with their tabs before a running server, and all that they were told against the rules. */
export class Conversations {
  readonly server: TestServer
  readonly model: Model
  readonly tabs: readonly (readonly Tab[])[]
  readonly #agent: PlannedAgent
  readonly #faults: string[] = []
  readonly #answers = new Set<Promise<void>>()
  readonly #loggedBefore: number

  constructor (server: TestServer, agent: PlannedAgent, model: Model) {
    this.server = server
    this.model = model
    this.#agent = agent
    this.#loggedBefore = server.log.length
    this.tabs = model.users.map((user) => {
      let token: Promise<string> | undefined
      return user.connected.map((_, index) => new Tab({
        user: user.name,
        name: `${user.name}/${index}`,
        url: () => `${server.url.replace('http', 'ws')}/v1/socket`,
        token: () => token ??= server.token(user.name),
        epoch: () => server.app.storage.epoch,
        received: (event, tab) => { this.#receive(event, user, tab) }
      }))
    })
  }

  /** What was told or logged, and must not have been. */
  get faults (): readonly string[] {
    const errors = this.server.log.slice(this.#loggedBefore).filter(({ level }) => level >= errorLevel)
    return [...this.#faults, ...this.tabs.flat().flatMap((tab) => tab.faults), ...errors.map((line) => `logged ${JSON.stringify(line)}`)]
  }

  fault (fault: string): void {
    this.#faults.push(fault)
  }

  tab (user: number, tab: number): Tab {
    const found = this.tabs[user]?.[tab]
    if (found === undefined) throw new RangeError(`User ${user} has no tab ${tab}`)
    return found
  }

  /** Lets the run of a message pass its gates. Until its end is told, nobody knows whether a stop came first. */
  open (user: ModelUser, { marker }: SentMessage): void {
    for (const message of user.messages.filter((other) => other.marker === marker)) {
      message.opened = true
      if (!this.model.ended.has(message.runId ?? '')) message.mustStop = false
    }
    this.#agent.open(marker)
  }

  /** Sends a command on a tab, and judges its answer when it comes. */
  async ask (user: ModelUser, tab: Tab, command: Sendable & { readonly id: string }, asking: Asking): Promise<void> {
    await this.answered(user, tab.ask(command), JSON.stringify(command), asking)
  }

  /** The same, when it has been sent already. What was lost with its connection may still be done at any time. */
  async answered (user: ModelUser, answer: Promise<ServerEvent | undefined>, asked: string, { judge, wait = true, stops }: Asking): Promise<void> {
    user.unanswered += 1
    if (stops !== undefined) user.stopsUnderWay.push(stops)
    const judged = within(`the answer to ${asked}`, answer).then((event) => {
      if (event === undefined) return
      user.unanswered -= 1
      if (stops !== undefined) user.stopsUnderWay.splice(user.stopsUnderWay.indexOf(stops), 1)
      judge(event)
    })
    if (wait) return await judged
    this.#answers.add(judged.catch((error: unknown) => { this.fault(String(error)) }))
  }

  /** Resolves when all that was asked has been answered. */
  async allAnswered (): Promise<void> {
    await Promise.all(this.#answers)
  }

  /** Resolves with the end of a run that nobody holds up. */
  async ended (user: ModelUser, runId: RunId): Promise<void> {
    await within(`the end of ${runId}`, endOfRun(this.server.app, user.name, runId))
    this.model.ended.add(runId)
  }

  /** Resolves when nothing is served any more. */
  async idle (): Promise<void> {
    let stopped = false
    const wait = async (): Promise<void> => { while (Object.keys(this.#load()).length > 0 && !stopped) await turn() }
    await within(() => `an idle server: ${JSON.stringify(this.#load())}`, wait(), 15_000).finally(() => { stopped = true })
  }

  /** What is not nothing. */
  #load (): Readonly<Record<string, number>> {
    const { engine, gateway, eventLog } = this.server.app
    const { connections, users, followedThreads } = gateway.load
    const load = { ...engine.load, connections, users, followedThreads, followed: eventLog.followed }
    return Object.fromEntries(Object.entries(load).filter(([, count]) => count !== 0))
  }

  #receive (event: ServerEvent, user: ModelUser, tab: Tab): void {
    const foreign = JSON.stringify(event).match(markers)?.filter((marker) => marker !== `${user.name}:`) ?? []
    if (foreign.length > 0) this.fault(`${tab.name} was told ${event.type} with ${foreign.join(', ')}`)
    if (isEvent(event, 'thread_created')) knowThread(user, event.payload.thread_id)
    const message = user.messages.find(({ id, kind }) => id === event.reply_to && kind === 'message')
    if (message !== undefined && isEvent(event, 'thread_created')) tab.arrive(event.payload.thread_id, 1)
    if ((isEvent(event, 'message_accepted') || isEvent(event, 'run_created')) && event.thread_id !== null) {
      knowThread(user, event.thread_id)
      if (event.payload.duplicate) tab.returnTo(event.thread_id, event.reply_to ?? '')
      else tab.arrive(event.thread_id, 'unknown')
    }
    if (isEvent(event, 'agent_completed') && isRunId(event.run_id)) this.model.ended.add(event.run_id)
  }
}

export function usersOf (conversations: Conversations): readonly { readonly user: ModelUser, readonly tabs: readonly Tab[] }[] {
  return conversations.tabs.map((tabs, index) => ({ user: userOf(conversations.model, index), tabs }))
}

/** Nothing of the user is under way: what the tab was told of its place is true. */
export function isCalm ({ unanswered }: ModelUser, tab: Tab): boolean {
  return unanswered === 0 && !tab.returning
}
