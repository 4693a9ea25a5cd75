import { ThreadlineError } from '../errors.ts'
import { readBearerToken } from './bearer-token.ts'

/** The WebSocket subprotocol of the wire protocol; the only one that is ever selected. */
export const socketSubprotocol = 'threadline.v1'

const bearerPrefix = 'bearer.'

export interface SocketHandshake {
  readonly authorization: string | undefined
  /** `Sec-WebSocket-Protocol` as it was sent. */
  readonly offeredSubprotocols: string | undefined
  /** The query parameter, whatever it was parsed to. */
  readonly ticket: unknown
}

/** What a client authenticates a socket with, and the subprotocol to select: undefined when it offered none. */
export type SocketCredentials =
  | { readonly kind: 'bearer', readonly token: string, readonly subprotocol: typeof socketSubprotocol | undefined }
  | { readonly kind: 'ticket', readonly ticket: string, readonly subprotocol: typeof socketSubprotocol | undefined }

/**
 * The one credential of a handshake: an `Authorization` header, an offered subprotocol `bearer.<jwt>` beside `threadline.v1`
 * (browsers cannot set headers), or a ticket in the query. The token is never selected as subprotocol, so that it is not
 * echoed. Throws `THREADLINE_UNSUPPORTED_SUBPROTOCOL` when subprotocols are offered without `threadline.v1`, and
 * `THREADLINE_UNAUTHENTICATED` when there is no credential, or more than one.
 */
export function readSocketCredentials ({ authorization, offeredSubprotocols, ticket }: SocketHandshake): SocketCredentials {
  const offered = offeredSubprotocols?.split(',').map((name) => name.trim()) ?? []
  if (offered.length > 0 && !offered.includes(socketSubprotocol)) throw new ThreadlineError('THREADLINE_UNSUPPORTED_SUBPROTOCOL')
  const subprotocol = offered.length > 0 ? socketSubprotocol : undefined

  const credentials: SocketCredentials[] = offered
    .filter((name) => name.startsWith(bearerPrefix))
    .map((name) => ({ kind: 'bearer', token: name.slice(bearerPrefix.length), subprotocol }))
  if (authorization !== undefined) credentials.push({ kind: 'bearer', token: readBearerToken(authorization), subprotocol })
  if (typeof ticket === 'string') credentials.push({ kind: 'ticket', ticket, subprotocol })
  else if (ticket !== undefined) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED', 'Only one ticket can be redeemed')

  const [credential] = credentials
  if (credential === undefined) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED')
  if (credentials.length > 1) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED', 'Only one kind of credential can be given')
  return credential
}
