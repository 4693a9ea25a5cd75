import { ThreadlineError } from '../errors.ts'

/** The token of an `Authorization: Bearer` header (RFC 6750, section 2.1). Throws `THREADLINE_UNAUTHENTICATED`. */
export function readBearerToken (authorization: string | undefined): string {
  const token = /^bearer +([\w.~+/-]+=*)$/i.exec(authorization ?? '')?.[1]
  if (token === undefined) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED')
  return token
}
