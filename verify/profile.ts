/** A station of a message's way. */
export interface HopRule {
  /** The value of the hop attribute. */
  readonly name: string
  /** At least one of these is above it, or before it, in its trace; an empty list says that a trace may begin with it. */
  readonly after: readonly string[]
  /** Once it has ended without an error, one of these follows in its trace; an empty list says that it may be the last. */
  readonly leadsTo?: readonly string[]
  /** What of the identity a span of this hop has to carry. */
  readonly carries: readonly ('user' | 'thread' | 'run')[]
}

/** How a service names things on its spans. Ours is the default; a team that verifies its own services gives its own. */
export interface Profile {
  /** In the order of the message's way. */
  readonly hops: readonly HopRule[]
  readonly attributes: {
    readonly hop: string
    readonly user: string
    readonly thread: string
    readonly run: string
    readonly request: string
    readonly connection: string
    /** On a span that writes an event to a connection: whose that connection is, and in which thread. */
    readonly recipientUser: string
    readonly recipientThread: string
    readonly eventType: string
    readonly sequence: string
    /** True on a client span whose request carried the `baggage` header. */
    readonly baggageSent: string
    /** The host of a client span, with `server.port` beside it. */
    readonly host: string
  }
  /** Names of spans that are no hop and belong to no message, such as a handshake: they carry what they carry. */
  readonly apart: readonly string[]
  /** On which hop, and with which event type, a run tells its end. */
  readonly terminal: { readonly hop: string, readonly eventType: string, readonly run: string }
  /** Where baggage may go: `host` or `host:port`. */
  readonly baggageHosts: readonly string[]
}
