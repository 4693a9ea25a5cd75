/** Query parameters that let whoever reads them act for somebody. */
export const secretParameters: readonly string[] = [
  'ticket', 'token', 'access_token', 'refresh_token', 'id_token', 'authorization', 'auth', 'jwt', 'code', 'password', 'secret',
  'client_secret', 'key', 'api_key', 'apikey', 'sig', 'signature', 'x-goog-signature', 'x-amz-signature', 'x-amz-credential',
  'x-amz-security-token', 'awsaccesskeyid'
]

/** The word that the semantic conventions for `url.query` and `url.full` use. */
const redacted = 'REDACTED'

/** A URL, absolute or not, without the values of secret query parameters, in whatever case or encoding their names are. */
export function redactQuery (url: string): string {
  const start = url.indexOf('?') + 1
  if (start === 0) return url
  const end = url.indexOf('#', start)
  const query = url.slice(start, end === -1 ? undefined : end)
  return url.slice(0, start) + query.split('&').map(redactPair).join('&') + (end === -1 ? '' : url.slice(end))
}

function redactPair (pair: string): string {
  const equals = pair.indexOf('=')
  if (equals === -1) return pair
  const name = pair.slice(0, equals)
  return secretParameters.includes(decode(name)) ? `${name}=${redacted}` : pair
}

function decode (name: string): string {
  try {
    return decodeURIComponent(name).toLowerCase()
  } catch {
    // Not valid percent-encoding, so no parser reads a parameter of ours in it.
    return name.toLowerCase()
  }
}
