import { setImmediate as turn } from 'node:timers/promises'
import type { ServerEvent } from '../../lib/protocol/events.ts'
import { isEvent } from './is-event.ts'
import { Tab } from './conversations/tab.ts'
import type { MortalService } from './mortal-service.ts'
import { within } from './within.ts'

export interface SteadyMessage {
  readonly content: string
  readonly agent: string
  readonly strategy: 'enqueue' | 'interrupt'
  /** The connection is lost while the answer is on its way. */
  readonly lost: boolean
}

/** A message that was accepted, how often it had been sent until that was known, and whether it had been accepted before. */
export interface KeptMessage {
  readonly content: string
  readonly runId: string
  readonly messageId: string
  readonly sent: number
  readonly duplicate: boolean
}

/** Somebody in one thread, in two tabs, who comes back and tries again whatever happens to the service. */
export class SteadyUser {
  readonly name: string
  readonly tabs: readonly [Tab, Tab]
  readonly accepted: KeptMessage[] = []
  readonly #service: MortalService
  readonly #sent: () => void
  readonly #ends = new Map<string, PromiseWithResolvers<void>>()
  #connectedTo: MortalService['running'] | undefined
  #url = ''
  #token = ''
  #epoch = ''
  #threadId: string | undefined
  #messages = 0

  constructor (name: string, service: MortalService, { sent, received }: { readonly sent: () => void, readonly received: () => void }) {
    this.name = name
    this.#service = service
    this.#sent = sent
    const openTab = (index: number): Tab => new Tab({
      user: name,
      name: `${name}/${index}`,
      url: () => this.#url,
      token: async () => this.#token,
      epoch: () => this.#epoch,
      mayClose: () => service.running !== this.#connectedTo,
      received: (event, tab) => {
        this.#receive(event, tab)
        received()
      }
    })
    this.tabs = [openTab(0), openTab(1)]
  }

  get threadId (): string {
    if (this.#threadId === undefined) throw new Error(`${this.name} has no thread`)
    return this.#threadId
  }

  /** Resolves when the message is accepted, however often it has to be sent. */
  async say ({ content, agent, strategy, lost }: SteadyMessage): Promise<void> {
    const id = `${this.name} ${this.#messages += 1}`
    const command = { type: 'user_message', id, payload: { content, agent, multitask_strategy: strategy } }
    const [tab] = this.tabs
    let answer: ServerEvent | undefined
    let sent = 0
    for (; answer === undefined; sent += 1) {
      await this.#connected()
      const asked = tab.ask(command)
      this.#sent()
      if (lost && sent === 0) await turn().then(() => tab.disconnect(false))
      answer = await within(`the acceptance of ${id}`, asked)
    }
    if (!isEvent(answer, 'message_accepted')) throw new Error(`${id} was answered with ${JSON.stringify(answer)}`)
    this.#threadId ??= answer.thread_id ?? undefined
    const { run_id: runId, message_id: messageId, duplicate } = answer.payload
    this.accepted.push({ content, runId, messageId, sent, duplicate })
  }

  /** Resolves when the user was told of the end of all runs, but for the last ones. */
  async toldEnds (but = 0): Promise<void> {
    for (const { runId } of this.accepted.slice(0, this.accepted.length - but)) {
      let told = false
      const end = this.#endOf(runId).promise.then(() => { told = true })
      while (!told) {
        await this.#connected()
        // Each service has its time: how long it takes to kill and to start them is not what is asked.
        await within(`the end of ${runId}`, Promise.race([end, ...this.tabs.map((tab) => tab.closed())]), 60_000)
      }
    }
  }

  async leave (): Promise<void> {
    await this.#connected()
    for (const tab of this.tabs) {
      await tab.settled()
      await tab.disconnect(true)
    }
  }

  /** The tabs are connected when it resolves, to whichever service runs by then; the second one once there is a thread. */
  async #connected (): Promise<void> {
    const tabs = this.#threadId === undefined ? this.tabs.slice(0, 1) : this.tabs
    while (!tabs.every((tab) => tab.connected)) {
      const running = this.#service.running
      const service = await within('a service that runs', running, 60_000)
      if (this.#service.running !== running) continue
      this.#connectedTo = running
      try {
        this.#url = `${service.url.replace('http', 'ws')}/v1/socket`
        this.#token = await service.token(this.name)
        for (const tab of tabs) if (!tab.connected) await within(`${tab.name} to be connected`, this.#connect(tab))
      } catch (error) {
        if (this.#service.running === running) throw error
      }
    }
  }

  async #connect (tab: Tab): Promise<void> {
    const threadId = this.#threadId
    const from = threadId === undefined ? undefined : tab.positionIn(threadId, 'last')
    const refusal = await tab.connect(threadId, from)
    if (refusal !== undefined) throw new Error(`${tab.name} was refused: ${JSON.stringify(refusal)}`)
  }

  #receive (event: ServerEvent, tab: Tab): void {
    if (isEvent(event, 'connection_established')) this.#epoch = event.payload.epoch
    if (isEvent(event, 'agent_completed') && event.run_id !== undefined) this.#endOf(event.run_id).resolve()
    if (isEvent(event, 'message_accepted') && event.thread_id !== null && event.payload.duplicate) tab.returnTo(event.thread_id, event.reply_to ?? '')
    if (isEvent(event, 'thread_created') && event.reply_to !== undefined) tab.arrive(event.payload.thread_id, 1)
  }

  #endOf (runId: string): PromiseWithResolvers<void> {
    const end = this.#ends.get(runId) ?? Promise.withResolvers<void>()
    this.#ends.set(runId, end)
    return end
  }
}
