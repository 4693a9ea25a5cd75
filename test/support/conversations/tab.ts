import { isRunEventType, type EventType, type RunEventType, type ServerEvent, type ThreadEvent } from '../../../lib/protocol/events.ts'
import { isEvent } from '../is-event.ts'
import { openSocket, TestSocket, type Refusal, type Sendable } from '../test-socket.ts'
import { within } from '../within.ts'
import type { Position } from './actions.ts'
import { fromPosition, type From } from './from-position.ts'
import type { Snapshot, ThreadStanding } from './snapshot.ts'
import { resumingAfter, ThreadReading, type Resuming } from './thread-reading.ts'

export interface TabOptions {
  readonly user: string
  readonly name: string
  /** Where the server's socket is now. */
  readonly url: () => string
  readonly token: () => Promise<string>
  /** Whether the server may close the connection. */
  readonly mayClose?: () => boolean
  /** That of a thread of which nothing is known yet. */
  readonly epoch: () => string
  /** Told of all that arrives, after the tab has noted it. */
  readonly received: (event: ServerEvent, tab: Tab) => void
}

/**
 * One tab of a user: it is connected again and again, remembers what it has read of each thread, and checks all that arrives. What
 * must not have been told is added to `faults`.
 */
export class Tab {
  readonly name: string
  readonly user: string
  readonly faults: string[] = []
  readonly snapshots: Snapshot[] = []
  readonly readings = new Map<string, ThreadReading>()
  readonly #options: TabOptions
  #socket: TestSocket | undefined
  #threadId: string | null = null
  /** Resumes that are not answered yet, by the id of their command, in the order in which they were sent. That of the handshake has none. */
  readonly #resumes = new Map<string | undefined, Resuming & { readonly threadId: string | undefined }>()

  constructor (options: TabOptions) {
    this.#options = options
    this.user = options.user
    this.name = options.name
  }

  /** The thread that the connection is in, as far as the server has told. */
  get threadId (): string | null { return this.#threadId }

  get connected (): boolean { return this.#socket !== undefined }

  /** Resolves when the connection is told to be where it was asked to be; with the refusal when there is none. */
  async connect (threadId?: string, from?: From): Promise<Refusal | undefined> {
    const query = new URLSearchParams({
      ...(threadId === undefined ? {} : { thread_id: threadId }),
      ...(from === undefined ? {} : { after: String(from.after), epoch: from.epoch })
    })
    const protocols = ['threadline.v1', `bearer.${await this.#options.token()}`]
    const opened = await openSocket(`${this.#options.url()}?${query.toString()}`, { protocols })
    if (!(opened instanceof TestSocket)) return opened
    if (threadId !== undefined && from !== undefined) this.#resumes.set(undefined, { threadId, ...resumingAfter(from.after) })
    this.#listen(opened)
    await opened.until('connection_established')
    if (from !== undefined) await opened.next((event) => event.type === 'resumed' || event.type === 'resync_required')
    return undefined
  }

  /** Sends a command and resolves with its answer; undefined when the connection was gone before that. */
  async ask (command: Sendable & { readonly id: string }): Promise<ServerEvent | undefined> {
    const socket = this.#socket
    if (socket === undefined) throw new Error(`${this.name} is not connected`)
    const from = socket.events.length
    const isAnswer = ({ type, reply_to: id }: ServerEvent): boolean => id === command.id && !isBeside(type, command.type)
    socket.send(command)
    return await socket.next(isAnswer, from).catch((error: unknown) => {
      if (this.#socket === socket) throw error
      return undefined
    })
  }

  async resume (id: string, threadId: string | undefined, from: From): Promise<ServerEvent | undefined> {
    this.#resumes.set(id, { threadId, ...resumingAfter(from.after) })
    const target = threadId === undefined ? {} : { thread_id: threadId }
    return await this.ask({ type: 'resume', id, ...target, payload: { after: from.after, epoch: from.epoch } })
  }

  /** Everything that the server has sent until now has arrived when this resolves. */
  async settled (): Promise<void> {
    if (this.#socket !== undefined) await this.ask({ type: 'ping', id: crypto.randomUUID(), payload: {} })
  }

  /** Resolves when there is no connection any more. */
  async closed (): Promise<void> { await this.#socket?.closed }

  /** Whether it is told of a thread anew, in which it is afterwards. */
  get returning (): boolean { return this.#resumes.size > 0 }

  /** Resolves when the tab was told of the thread that it is in up to this sequence, without asking for it. */
  async toldTo (sequence: number): Promise<void> {
    const threadId = this.#threadId
    const next = this.readings.get(threadId ?? '')?.next
    if (next === undefined || next > sequence) return
    const last = this.#socket?.next((event) => event.thread_id === threadId && event.sequence === sequence)
    await within(`${this.name} to be told ${sequence} of ${threadId}`, Promise.resolve(last), 10_000)
  }

  /** Ends the connection, with a goodbye or without. */
  async disconnect (politely: boolean): Promise<void> {
    const socket = this.#socket
    if (socket === undefined) return
    this.#forget()
    if (politely) await socket.close()
    else socket.drop()
    await socket.closed
  }

  /** A position in a thread by its name. A tab that has not read the thread is at its beginning. */
  positionIn (threadId: string | null, position: Position): From {
    return fromPosition(position, this.readings.get(threadId ?? '')?.last ?? { after: 0, epoch: this.#options.epoch() })
  }

  /** The connection, which was in no thread, was put into one; where that stands was told only of a new one. */
  arrive (threadId: string, next: 1 | 'unknown'): void {
    if (this.#threadId !== null) return
    this.#move(threadId)
    this.reading(threadId).arrive(next)
  }

  /** The same by a message that had been sent before, under this id: what its run has told follows. */
  returnTo (threadId: string, id: string): void {
    if (this.#threadId === null) this.#resumes.set(id, { threadId, ...resumingAfter(undefined) })
  }

  reading (threadId: string): ThreadReading {
    const reading = this.readings.get(threadId) ?? new ThreadReading((fault) => { this.#fault(`thread ${threadId}: ${fault}`) })
    this.readings.set(threadId, reading)
    return reading
  }

  #listen (socket: TestSocket): void {
    this.#socket = socket
    this.#threadId = null
    let taken = 0
    const take = (): void => {
      if (this.#socket !== socket) return // the user has left, and sees no more of it
      for (const event of socket.events.slice(taken)) this.#take(event)
      taken = socket.events.length
    }
    take()
    socket.raw.on('message', take)
    socket.raw.on('close', (code: number) => {
      if (this.#socket !== socket) return
      if (this.#options.mayClose?.() !== true) this.#fault(`the server closed the connection with ${code}`)
      this.#forget()
    })
  }

  #forget (): void {
    this.#socket = undefined
    this.#threadId = null
    this.#resumes.clear()
    for (const reading of this.readings.values()) reading.leave()
  }

  #take (event: ServerEvent): void {
    if (event.user_id !== this.user) this.#fault(`told ${event.type} of ${event.user_id}`)
    this.#note(event)
    if (isRunEventType(event.type)) this.#tell(event as ServerEvent<RunEventType>) // its type was compared
    else if (event.sequence !== undefined) this.#fault(`${event.type} has a sequence`)
    this.#options.received(event, this)
  }

  #note (event: ServerEvent): void {
    if (isEvent(event, 'connection_established')) {
      const { thread_id: threadId } = event.payload
      if (threadId !== null) this.#enter(threadId, event.payload)
      if (threadId !== null && this.#resumes.has(undefined)) this.reading(threadId).enterResuming()
    } else if (isEvent(event, 'thread_switched')) this.#enter(event.payload.thread.thread_id, event.payload)
    else if (isEvent(event, 'resync_required')) this.#resync(event)
    else if (isEvent(event, 'resumed')) this.#resumed(event)
    else if (isEvent(event, 'error')) this.#resumes.delete(event.reply_to)
    else if (isEvent(event, 'thread_deleted') && event.payload.thread_id === this.#threadId) this.#move(null)
  }

  #resync (event: ServerEvent<'resync_required'>): void {
    if (!this.#resumes.delete(event.reply_to)) this.#fault('told to load anew without having asked')
    this.#enter(event.payload.thread.thread_id, event.payload)
  }

  #resumed ({ thread_id: threadId, reply_to: id, payload }: ServerEvent<'resumed'>): void {
    const resuming = this.#firstResume()
    if (threadId === null || resuming === undefined || !this.#resumes.delete(id)) return this.#fault('resumed without having asked')
    if (threadId !== this.#threadId && resuming.replayed === 0) this.reading(threadId).enterResuming()
    this.reading(threadId).resumed(payload, resuming)
    this.#move(threadId)
    this.#remember(threadId, payload)
  }

  #enter (threadId: string, state: ThreadStanding): void {
    this.#move(threadId)
    this.reading(threadId).enter(state)
    this.#remember(threadId, state)
  }

  #remember (threadId: string, { sequence, active_runs: activeRuns, messages }: ThreadStanding): void {
    this.snapshots.push({ threadId, sequence, activeRuns, messages })
  }

  #move (threadId: string | null): void {
    if (this.#threadId !== null && this.#threadId !== threadId) this.reading(this.#threadId).leave()
    this.#threadId = threadId
  }

  #firstResume (): (Resuming & { readonly threadId: string | undefined }) | undefined {
    return this.#resumes.values().next().value
  }

  #tell (event: ServerEvent<RunEventType>): void {
    const { thread_id: threadId, sequence, epoch, run_id: runId } = event
    if (threadId === null || sequence === undefined || epoch === undefined || runId === undefined) {
      return this.#fault(`${event.type} without thread, sequence, epoch or run`)
    }
    const told: ThreadEvent = { ...event, thread_id: threadId, sequence, epoch, run_id: runId }
    if (event.replayed === true) return this.#replay(told)
    if (threadId !== this.#threadId) return this.#fault(`told ${event.type} of thread ${threadId} in thread ${this.#threadId}`)
    this.reading(threadId).live(told)
  }

  #replay (event: ThreadEvent): void {
    const { thread_id: threadId } = event
    const resuming = this.#firstResume()
    if (resuming === undefined || threadId !== (resuming.threadId ?? this.#threadId)) {
      return this.#fault(`told ${event.type} of thread ${threadId} again without having asked`)
    }
    if (resuming.replayed === 0 && threadId !== this.#threadId) this.reading(threadId).enterResuming()
    this.reading(threadId).replay(event, resuming)
  }

  #fault (fault: string): void {
    this.faults.push(`${this.name}: ${fault}`)
  }
}

/** What comes with the answer to a message, and is not the answer. */
function isBeside (type: EventType, command: string): boolean {
  return type === 'run_queued' || (type === 'thread_created' && command !== 'create_thread') || (type === 'resumed' && command !== 'resume')
}
