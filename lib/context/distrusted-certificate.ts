import { ThreadlineError } from '../errors.ts'

/**
 * How a connection that is to be encrypted fails when the other side is not who it should be, or does not encrypt. Source: Node's documentation of
 * `tls`, "X509 certificate error codes".
 */
const reasons: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: 'is of an authority that is not trusted here',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'is signed by itself alone',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'is of an authority that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT: 'is of an authority that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'is of an authority that is not trusted here',
  CERT_SIGNATURE_FAILURE: 'is not signed by the authority that it names',
  CERT_UNTRUSTED: 'is of an authority that is not trusted here',
  CERT_REVOKED: 'has been revoked',
  CERT_NOT_YET_VALID: 'is not valid yet',
  CERT_HAS_EXPIRED: 'has expired',
  INVALID_PURPOSE: 'is not one of a server',
  HOSTNAME_MISMATCH: 'is of another host',
  ERR_TLS_CERT_ALTNAME_INVALID: 'is of another host'
}

/** What was to be reached, and by which variables. */
export interface CertifiedServer {
  readonly name: string
  readonly field: string
  /** What to do when its authority is not trusted. */
  readonly remedy: string
}

/**
 * The error of a connection, or what has caused it, as `THREADLINE_INVALID_CONFIGURATION` that says what to do, when the server's certificate was refused. Undefined
 * for every other error. It holds neither address nor password.
 */
export function distrustOf (error: unknown, { name, field, remedy }: CertifiedServer): ThreadlineError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as NodeJS.ErrnoException // what errors of Node have
    const reason = code === undefined ? undefined : reasons[code]
    if (reason === undefined) continue
    return new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `The certificate of ${name} ${reason} (${code}): ${remedy}`, { field, cause: error })
  }
  return undefined
}
