import type { SpanKind } from './span.ts'

/** A station of a message's way. */
export interface HopRule {
  /** The value of the hop attribute. */
  readonly name: string
  /** At least one of these is above it, or in its trace for the same run; an empty list says that a trace may begin with it. */
  readonly after: readonly string[]
  /** Once it has ended without an error, one of these follows in its trace, for the same run; an empty list says that it may be the last. */
  readonly leadsTo?: readonly string[]
  /** What of the identity a span of this hop has to carry. */
  readonly carries: readonly IdentityPart[]
  /** Its spans write to a connection, and have to say whose that is: `recipientUser`. */
  readonly delivers?: boolean
}

export type IdentityPart = 'user' | 'thread' | 'run'

/** How a service names things on its spans. Ours is the default; a team that verifies its own services gives its own. */
export interface Profile {
  /** In the order of the message's way. */
  readonly hops: readonly HopRule[]
  readonly attributes: ProfileAttributes
  /**
   * Spans that are a hop without saying so, such as the request that brought a message over HTTP: those of this kind that carry no hop
   * attribute and have no hop above them.
   */
  readonly implied: readonly { readonly kind: SpanKind, readonly hop: string }[]
  /**
   * Names of spans that are no hop and belong to no message, such as a handshake: what is delivered below one may be of any thread and run of
   * its user. A hop that does not deliver is a message's, wherever it hangs.
   */
  readonly apart: readonly string[]
  /**
   * Spans that are no hop and yet carry what the hop right above them carries, which is `below` where that is given: of this kind, with this
   * name or with it as the first word. Other spans that are no hop may carry nothing.
   */
  readonly carriers: readonly { readonly kind: SpanKind, readonly name: string, readonly below?: string | undefined }[]
  /** How a run tells its end; without it, CTX008 is not checked. */
  readonly terminal?: Terminal | undefined
  /** Where baggage may go: `host` or `host:port`, compared without regard to case. */
  readonly baggageHosts: readonly string[]
}

export interface Terminal {
  /** On which hop, and with which event type. */
  readonly hop: string
  readonly eventType: string
  /** A hop that failed with one of these errors says that the run was ended elsewhere, such as with its thread. */
  readonly excusedBy: readonly string[]
}

/** Names of attributes. */
export interface ProfileAttributes {
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
  /** Its place in its thread; an event without one is an answer to its own connection. */
  readonly sequence: string
  /** True on a client span whose request carried the `baggage` header. */
  readonly baggageSent: string
  /** The host of a client span. */
  readonly host: string
  readonly port: string
  readonly errorType: string
  /** What the service itself has noticed at a span: that an identity was lost or crossed, and refused or not. */
  readonly violation: string
}
