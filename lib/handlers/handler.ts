import type { AgentRegistry } from '../agents/agent-registry.ts'
import type { Signer } from '../context/signature.ts'
import type { Engine } from '../engine/engine.ts'
import type { CommandOf, CommandType } from '../protocol/commands.ts'
import type { EventType, PayloadOf } from '../protocol/events.ts'
import type { RunId, ThreadId } from '../protocol/ids.ts'
import type { RunRecord } from '../stores/run-record.ts'
import type { Storage } from '../stores/storage.ts'

/** What a handler may do with the connection that a command came from. Whom it serves it reads with `currentThread()`. */
export interface HandlerConnection {
  /** Answers the command, on this connection only, in the active identity. */
  reply<Type extends EventType>(type: Type, payload: PayloadOf<Type>): void
  /** Tells all connections of the user but this one, whatever their thread. */
  tellOthers<Type extends EventType>(type: Type, payload: PayloadOf<Type>): void
  /** Tells the other connections of the active thread. */
  tellThread<Type extends EventType>(type: Type, payload: PayloadOf<Type>): void
  /**
   * Puts the connection into the active thread. Its events are held back while `prepare` reads the thread's position; then the
   * connection changes thread, `tell` answers, and what came after the position follows. When `prepare` fails, the connection
   * stays where it was and has missed nothing there.
   */
  enter (prepare: () => Promise<{ readonly sequence: number, readonly tell: () => void }>): Promise<void>
  /**
   * Goes on in the thread and run of a message that had been accepted before: the identity under which the command came is put right, on
   * the spans of the message as well.
   */
  adopt<T>(stored: { readonly threadId: ThreadId, readonly runId: RunId }, fn: () => T): T
  /** Whether the connection is in a thread, be it the active one or another. */
  readonly hasThread: boolean
  /** Takes all connections of the user out of the active thread, because it is no more. */
  vacate (): void
  /**
   * Tells what the active thread has told after a position and this connection has not been sent, and puts it into the thread; or, where
   * that cannot be told any more, how the thread stands.
   */
  resume (position: { readonly after: number, readonly epoch: string }): Promise<void>
  /** Takes a fresh token of the same user, so that the connection outlives the old one. */
  renew (token: string): Promise<Date>
}

/** What handlers work with: the same for all connections, and nothing in it belongs to one user. */
export interface HandlerTools {
  readonly storage: Storage
  readonly agents: AgentRegistry
  readonly engine: Engine
  /** Signs the runs that are put into the queue. */
  readonly signer: Signer
  readonly defaultAgent: string
  readonly maxWaitingRuns: number
  /** What this process has seen of a run of the active user, and what is to be said of it. */
  readonly reportIsolation: (run: RunRecord) => Promise<PayloadOf<'run_isolation'>>
}

/**
 * Carries out one command. The active identity is that of the command: its user, its thread when it has one, its run when it
 * starts one. Throws a `ThreadlineError` for what the client must be told.
 */
export type Handler<Name extends CommandType> = (
  command: CommandOf<Name>, connection: HandlerConnection, tools: HandlerTools
) => Promise<void>

/** What the gateway has to know of a command before it can enter its identity. */
export interface CommandNeeds {
  /**
   * `none`: the connection's thread is only a fact. `target`: the one in the payload. The others take the one that the command
   * names, else the connection's; without both, `required` refuses and `created` makes a new one.
   */
  readonly thread: 'none' | 'target' | 'required' | 'created'
  /** It starts a run, whose id is part of the identity from the start. */
  readonly run: boolean
  /** The thread that it is about may be a deleted one. */
  readonly deleted?: true
}
