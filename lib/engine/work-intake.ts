import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import type { EventBus } from '../events/event-bus.ts'
import { Announcer } from '../queue/announcer.ts'
import { QueuePoller, type QueuePollerOptions, type Room } from '../queue/queue-poller.ts'
import { hearWork, tellWork } from './work-messages.ts'

export interface WorkIntakeOptions extends Pick<QueuePollerOptions, 'launch' | 'hasPeers'> {
  readonly queue: QueuePollerOptions['store']
  readonly bus: Pick<EventBus, 'publish' | 'subscribe'>
  /** Takes anything at all. Where not, what is queued here is only announced. */
  readonly executes: boolean
  /** Slots that no thread of this process has taken, nor waits for; negative when more wait than there are. */
  readonly freeSlots: () => number
  /** Threads that are worked on here, or wait here for a slot. */
  readonly working: () => number
  /** How often the queue is asked for work that nobody has told of. A second by default. */
  readonly pollIntervalMs?: number
  /** Aborted when nothing more is to be taken: then what is left is announced to those who go on with it. */
  readonly closing: AbortSignal
  readonly logger: Logger
}

const defaultPollIntervalMs = 1_000
/** How long a run waits for a worker with room before one without takes it. */
const patienceMs = 1_000
/** How long a worker with much to do lets those with less look first: a millisecond for each thread, and at most so many. */
const maxCourtesyMs = 20
/** How often the other nodes are told that something waits. */
const announceIntervalMs = 20
/** Threads that may wait here for a slot: where nobody else could take them, and where it is better to leave some to others. */
const waitingRoom = { alone: 10_000, withPeers: 64 }

/** How this process comes to its work: it takes what it has room for, looks for more when something has ended, and leaves the rest to others. */
export class WorkIntake {
  readonly #options: WorkIntakeOptions
  readonly #announcer: Announcer
  readonly #poller: QueuePoller
  #turn: NodeJS.Timeout | undefined

  constructor (options: WorkIntakeOptions) {
    const { queue, bus, executes, hasPeers, closing, launch, logger, pollIntervalMs = defaultPollIntervalMs } = options
    this.#options = options
    this.#announcer = new Announcer(() => { tellWork(bus) }, announceIntervalMs)
    this.#poller = new QueuePoller({ store: queue, room: () => this.#room(), launch, intervalMs: pollIntervalMs, patienceMs, hasPeers, logger })
    if (!executes) return
    const deafen = hearWork(bus, () => { this.#lookInTurn() })
    closing.addEventListener('abort', () => { deafen() }, { once: true })
  }

  /** Whether one more thread can be worked on here at once, or may wait here for a slot. */
  hasRoom (): boolean {
    return this.#room().free > 0
  }

  /** A run was queued that is not taken here: it is whoever's has room first, here or elsewhere. */
  leave (): void {
    this.#announcer.announce()
    if (this.#options.executes) this.#poller.postpone()
  }

  /** Looks for work at once, and from now on. */
  start (): void {
    this.#poller.start()
  }

  /** A thread is not worked on here any more: there is room for another one, or somebody else has to go on. */
  freed (): void {
    if (this.#options.closing.aborted) this.#announcer.announce()
    this.#poller.freed()
  }

  /** What was still to be announced is announced now. */
  async close (): Promise<void> {
    clearTimeout(this.#turn)
    this.#announcer.close()
    await this.#poller.close()
  }

  // All workers hear of the same run at the same time. Without turns the quickest would take them all, and the others stand idle.
  #lookInTurn (): void {
    const courtesyMs = Math.min(this.#options.working(), maxCourtesyMs)
    if (courtesyMs === 0) return this.#poller.look()
    this.#turn ??= context.with(ROOT_CONTEXT, () => setTimeout(() => {
      this.#turn = undefined
      this.#poller.look()
    }, courtesyMs))
  }

  #room (): Room {
    const { hasPeers, freeSlots } = this.#options
    const free = freeSlots()
    return hasPeers ? { free, waiting: free + waitingRoom.withPeers } : { free: free + waitingRoom.alone, waiting: 0 }
  }
}
