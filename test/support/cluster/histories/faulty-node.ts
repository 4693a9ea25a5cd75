import type { TcpProxy } from '../tcp-proxy.ts'
import type { FaultySignals } from './faulty-signals.ts'

/** A node as faults see it, whether it is a process or an app in this one. */
export interface FaultyNode {
  readonly name: string
  /** Where clients reach it; undefined while it does not run, and of a worker. */
  readonly url: string | undefined
  readonly postgres: TcpProxy
  readonly redis: TcpProxy | undefined
  readonly signals: FaultySignals | undefined
  /** Ends it at once: it writes nothing any more, and says goodbye to nobody. */
  crash (): Promise<void>
  /** Ends it as a deployment does. */
  drain (): Promise<void>
  /** After either of them. */
  start (): Promise<void>
  /** Stops it in the middle of whatever it does; undefined where that cannot be done. */
  readonly freeze: (() => void) | undefined
  readonly thaw: (() => void) | undefined
}
