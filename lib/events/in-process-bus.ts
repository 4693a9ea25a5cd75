import { randomBytes } from 'node:crypto'
import { context, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Logger } from '../context/logger.ts'
import { createSigner, type Signer } from '../context/signature.ts'
import { BusEnd } from './bus-end.ts'
import { Doubt, eitherDoubt } from './doubt.ts'
import type { EventBus } from './event-bus.ts'
import type { NodeClocks } from './node-clocks.ts'

export interface InProcessNodeOptions {
  /** Instead of the hub's own, which all of its nodes trust. */
  readonly signer?: Signer
  readonly logger?: Logger
  readonly clocks?: NodeClocks
}

/** Several nodes in one process. */
export interface InProcessHub {
  /** One of them. No two have the same id. */
  node (id: string, options?: InProcessNodeOptions): EventBus
  /** Nothing goes to the node or comes from it, until it is mended. */
  cut (id: string): void
  mend (id: string): void
  /** Says something to all nodes that need not be one of theirs. */
  say (text: string): void
}

interface Seat { readonly end: BusEnd, readonly doubt: Doubt, cut: boolean }

/** What has been said and not been heard yet. */
const maxUnheard = 10_000

const silent: Logger = { info () {}, warn () {}, error () {} }

/** A bus without a network. What it carries is sealed and opened all the same, and heard a turn of the loop later. */
export function createInProcessHub (): InProcessHub {
  const hubSigner = createSigner([randomBytes(32)])
  const seats = new Map<string, Seat>()
  let unheard = 0

  function say (text: string, from?: Seat): void {
    unheard += 1
    context.with(ROOT_CONTEXT, () => setImmediate(() => {
      unheard -= 1
      for (const seat of seats.values()) if (seat !== from && !seat.cut) seat.end.hear(text)
    }))
  }

  function setCut (id: string, cut: boolean): void {
    const seat = seats.get(id)
    if (seat === undefined) return
    seat.cut = cut
    seat.doubt.set(cut)
  }

  return {
    node (id, { signer = hubSigner, logger = silent, clocks } = {}): EventBus {
      const seat: Seat = { end: new BusEnd({ node: id, signer, logger, clocks, bus: 'in-process' }), doubt: new Doubt(logger, false), cut: false }
      seats.set(id, seat)
      const { end } = seat
      const doubt = eitherDoubt(seat.doubt, end.clocks.doubt)
      return {
        node: id,
        publish (topic, signal) {
          const post = seats.get(id) === seat ? end.encode(topic, signal) : undefined
          if (post === undefined) return
          if (seat.cut || unheard >= maxUnheard) return end.sent('dropped')
          end.sent('ok')
          say(end.seal([post]), seat)
        },
        subscribe: (topic, receive) => end.subscribe(topic, receive),
        get doubtful () { return doubt.doubtful },
        onDoubt: (listener) => doubt.on(listener),
        get subscribed () { return end.subscribed },
        async close () { if (seats.get(id) === seat) seats.delete(id) }
      }
    },
    cut: (id) => { setCut(id, true) },
    mend: (id) => { setCut(id, false) },
    say: (text) => { say(text) }
  }
}
