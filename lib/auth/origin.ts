import { isLoopbackHost } from './loopback.ts'

export interface OriginRules {
  /** The `Host` header of the request that the origin came with. */
  readonly host: string | undefined
  readonly allowedOrigins: readonly string[]
  /** Pages of this machine are allowed, whatever port they come from. */
  readonly development: boolean
}

/**
 * Whether the page that a request comes from may connect. No `Origin` is allowed, because only browsers send one and they always
 * do; the opaque origin `null` is not. A page served under the request's own host is allowed.
 */
export function isAllowedOrigin (origin: string | undefined, { host, allowedOrigins, development }: OriginRules): boolean {
  if (origin === undefined) return true
  const url = URL.parse(origin)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.origin !== origin.toLowerCase()) return false
  if (allowedOrigins.includes(url.origin)) return true
  if (development) return isLoopbackHost(url.hostname)
  // TLS usually ends before this server: the scheme of the own host is not known, and the origin's says what port is implied.
  return host !== undefined && URL.parse(`${url.protocol}//${host}`)?.host === url.host
}
