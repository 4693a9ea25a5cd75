import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import { Doubt } from './doubt.ts'

export interface NodeClocksOptions {
  readonly logger: Logger
  /** How long a node of which nothing more comes is held for one that cannot be heard. */
  readonly forgetMs?: number
  /** How long nothing of a node may have been too old until a good signal of it ends the doubt. */
  readonly settleMs?: number
  /** How often it is said at most. */
  readonly warnMs?: number
}

/** What a node of ours has sealed, in Unix time in ms, by its clock. */
export interface Sealed {
  readonly from: string
  readonly at: number
}

/** Nodes that are remembered; of more it is enough to know that there are some. */
const maxNodes = 1_000

/**
 * Which nodes cannot be heard because what they say is too old when it comes: their clocks and this one's are far apart, or this process stood still. Nothing that is
 * refused says that it is missing, so there is doubt until they are heard again, or nothing more comes from them. The buses of a node share one.
 */
export class NodeClocks {
  readonly doubt: Doubt
  readonly #options: Required<NodeClocksOptions>
  /** When something of each of them was refused last. */
  readonly #late = new Map<string, number>()
  #forgetting: NodeJS.Timeout | undefined
  #warnedAt = -Infinity

  constructor ({ logger, forgetMs = 60_000, settleMs = 1_000, warnMs = 300_000 }: NodeClocksOptions) {
    this.#options = { logger, forgetMs, settleMs, warnMs }
    this.doubt = new Doubt(logger, false)
  }

  /** Something was too old. `now`: Unix time in ms, by the clock that has judged it. */
  refused ({ from, at }: Sealed, now: number): void {
    if (this.#late.size < maxNodes || this.#late.has(from)) this.#late.set(from, performance.now())
    this.#warn({ from, at }, now)
    if (this.#forgetting === undefined) this.#forgetLater()
    this.doubt.set(true)
  }

  /** Something was good. */
  heard (from: string): void {
    const refusedAt = this.#late.get(from)
    if (refusedAt === undefined || performance.now() - refusedAt < this.#options.settleMs) return
    this.#late.delete(from)
    this.#tell()
  }

  #warn ({ from, at }: Sealed, now: number): void {
    const { logger, warnMs } = this.#options
    if (performance.now() - this.#warnedAt < warnMs) return
    this.#warnedAt = performance.now()
    logger.warn(
      { from, its_clock: new Date(at).toISOString(), own_clock: new Date(now).toISOString(), apart_ms: now - at },
      'What another node tells is too old when it comes, and is refused: clocks are apart, or this process stood still. The log is asked often instead; `threadline doctor` compares clocks'
    )
  }

  #forgetLater (): void {
    this.#forgetting = context.with(ROOT_CONTEXT, () => setTimeout(() => {
      this.#forgetting = undefined
      const silentSince = performance.now() - this.#options.forgetMs
      for (const [node, refusedAt] of this.#late) if (refusedAt <= silentSince) this.#late.delete(node)
      if (this.#late.size > 0) this.#forgetLater()
      this.#tell()
    }, this.#options.forgetMs).unref())
  }

  #tell (): void {
    if (this.#late.size > 0 || !this.doubt.doubtful) return
    this.#options.logger.info({}, 'No node is refused for its clock any more')
    this.doubt.set(false)
  }
}
