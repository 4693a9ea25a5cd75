import { logContext } from './log-context.ts'
import { exportLine } from './log-export.ts'
import { redactQuery, secretParameters } from './redact-query.ts'

/** What is read of a Fastify request. */
export interface LoggedRequest {
  readonly method: string
  readonly url: string
  readonly host: string
  readonly ip: string
  readonly socket: { readonly remotePort?: number | undefined }
}

const censor = '[redacted]'
const secretFields = ['authorization', 'cookie', 'set-cookie', 'token', 'ticket', 'password', 'secret', 'apiKey', 'api_key', 'jwt']

/** What a secret looks like in a finished line, wherever it comes from: a field, an error's message, a header, a URL. */
const secrets: readonly (readonly [RegExp, string])[] = [
  [new RegExp(`("(?:${secretFields.join('|')})":")(?:[^"\\\\]|\\\\.)+`, 'gi'), `$1${censor}`],
  [new RegExp(`([?&](?:${secretParameters.join('|')})=)[^&#\\s"\\\\]+`, 'gi'), '$1REDACTED'],
  // JSON Web Tokens (RFC 7519): the header is an object in base64url, which always begins like this.
  [/(?<![\w-])eyJ[\w-]{1,4096}\.[\w-]{1,16384}\.[\w-]{0,4096}/g, censor],
  // RFC 6750, section 2.1.
  [/\b(bearer\s+)[\w.~+/-]{16,}=*/gi, `$1${censor}`]
]

/**
 * Options of pino, for Fastify's `logger`: every line carries the ids of its context, and none a secret. Secrets are looked for in
 * the finished line and not by pino's `redact`, which knows fields at given depths and no text. Plain data and functions, because
 * fastify-cli merges them into its own.
 */
export const loggerOptions = {
  mixin: logContext,
  serializers: {
    req: ({ method, url, host, ip, socket: { remotePort } }: LoggedRequest) => ({
      method, url: redactQuery(url), host, remoteAddress: ip, ...(remotePort === undefined ? {} : { remotePort })
    })
  },
  hooks: { streamWrite: finishLine }
}

/** What is written is what is exported: nothing leaves but this text. */
function finishLine (line: string): string {
  const redacted = redactLine(line)
  exportLine(redacted)
  return redacted
}

function redactLine (line: string): string {
  return secrets.reduce((text, [secret, replacement]) => text.replace(secret, replacement), line)
}
