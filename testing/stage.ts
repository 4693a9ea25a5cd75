import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { Agent } from '../lib/agents/define-agent.ts'
import type { Violation } from '../lib/context/guard.ts'
import type { ServerEvent } from '../lib/protocol/events.ts'
import type { Report } from '../verify/report.ts'

export interface StageOptions {
  readonly agents?: readonly Agent[]
  /** Registered beside the product's own plugins, before the routes. */
  readonly plugins?: readonly FastifyPluginAsync[]
  /** Configuration, by the names of the environment. */
  readonly env?: Readonly<Record<string, string | number | undefined>>
}

/** A whole server on a free port of loopback, with its witnesses: the guard, and the verifier over its spans. */
export interface Stage {
  readonly app: FastifyInstance
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  /** A user with a socket of its own in a new thread. */
  enter (userId: string): Promise<StageUser>
  /** What the guard has refused so far. */
  readonly violations: readonly Violation[]
  /** Verifies every trace so far, once all spans that are open have ended or the limit is over. */
  verify (): Promise<Report>
  close (): Promise<void>
}

export interface StageUser {
  readonly userId: string
  readonly threadId: string
  readonly token: string
  /** Everything that the user's socket received. */
  readonly received: readonly ServerEvent[]
  /** Sends a message and waits for the end of its run. Rejects when there is none within the limit. */
  say (content: string, options?: { agent?: string }): Promise<ServerEvent<'agent_completed'>>
  /** Sends any frame. */
  send (frame: unknown): void
  until (matches: (event: ServerEvent) => boolean): Promise<ServerEvent>
  leave (): Promise<void>
}
