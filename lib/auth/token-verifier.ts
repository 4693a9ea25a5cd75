import { createRemoteJWKSet, errors, jwtVerify, type JWTVerifyOptions, type JWTVerifyResult } from 'jose'
import { ThreadlineError } from '../errors.ts'
import { isReservedUserId, isUserId, type UserId } from '../protocol/ids.ts'

/** Who has proved to be whom, and until when. */
export interface Caller {
  readonly userId: UserId
  readonly expiresAt: Date
}

/**
 * Resolves to the caller whom a token names. Throws `THREADLINE_TOKEN_EXPIRED` for a token that was good once, `THREADLINE_UNAUTHENTICATED`
 * for every other fault of the token, whose `cause` is then a text that may be logged, and another error when the
 * verification itself could not be done, as when the keys cannot be fetched.
 */
export type TokenVerifier = (token: string) => Promise<Caller>

export interface TokenVerifierOptions {
  readonly keys: RemoteKeys | SharedSecret
  readonly issuer: string
  readonly audience: string
  readonly clockToleranceSeconds: number
}

/** Public keys behind a URL. They are kept for ten minutes; a key that is not among them is asked for anew after the cooldown. */
export interface RemoteKeys {
  readonly jwksUrl: string
  readonly cooldownMs?: number
  readonly timeoutMs?: number
}

export interface SharedSecret { readonly secret: Uint8Array }

/** Longer ones are refused unread: no issuer needs them, and Node's limit for all headers is 16 KiB. */
export const maxTokenCharacters = 8192

// The two lists have nothing in common: a public key can never be taken for a shared secret (RFC 8725, section 3.1).
const publicKeyAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const secretAlgorithms = ['HS256']

const faultsOfTheToken: ReadonlySet<string> = new Set([
  errors.JOSEAlgNotAllowed.code, errors.JOSENotSupported.code, errors.JWSInvalid.code, errors.JWSSignatureVerificationFailed.code,
  errors.JWTInvalid.code, errors.JWTClaimValidationFailed.code, errors.JWKSNoMatchingKey.code, errors.JWKSMultipleMatchingKeys.code
])

/** Tokens are signed JWTs (RFC 7519) with `sub`, `iss`, `aud` and `exp`. The subject is the user. */
export function createTokenVerifier ({ keys, issuer, audience, clockToleranceSeconds }: TokenVerifierOptions): TokenVerifier {
  const verify = 'secret' in keys ? verifierOf(keys) : remoteVerifierOf(keys)
  const options = { issuer, audience, clockTolerance: clockToleranceSeconds, requiredClaims: ['sub', 'exp'] }

  return async function verifyToken (token) {
    if (token.length > maxTokenCharacters) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED', 'The token is too long')
    return toCaller(await verify(token, options).catch(refuse))
  }
}

type Verify = (token: string, options: JWTVerifyOptions) => Promise<JWTVerifyResult>

function verifierOf ({ secret }: SharedSecret): Verify {
  return async (token, options) => await jwtVerify(token, secret, { ...options, algorithms: secretAlgorithms })
}

function remoteVerifierOf ({ jwksUrl, cooldownMs = 30_000, timeoutMs = 5000 }: RemoteKeys): Verify {
  const keySet = createRemoteJWKSet(new URL(jwksUrl), { cooldownDuration: cooldownMs, timeoutDuration: timeoutMs })
  return async (token, options) => await jwtVerify(token, keySet, { ...options, algorithms: publicKeyAlgorithms })
}

function toCaller ({ payload }: JWTVerifyResult): Caller {
  const expiresAt = new Date((payload.exp ?? Number.NaN) * 1000)
  if (!isUserId(payload.sub)) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED', undefined, { cause: 'sub is not a user id' })
  if (isReservedUserId(payload.sub)) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED', undefined, { cause: 'sub is a user of the service itself' })
  if (Number.isNaN(expiresAt.getTime())) throw new ThreadlineError('THREADLINE_UNAUTHENTICATED', undefined, { cause: 'exp is not a date' })
  return { userId: payload.sub, expiresAt }
}

/** The cause is a text and not the library's error, which holds the claims. */
function refuse (error: unknown): never {
  if (error instanceof errors.JWTExpired) throw new ThreadlineError('THREADLINE_TOKEN_EXPIRED')
  if (error instanceof errors.JOSEError && faultsOfTheToken.has(error.code)) {
    throw new ThreadlineError('THREADLINE_UNAUTHENTICATED', undefined, { cause: `${error.code}: ${error.message}` })
  }
  throw error
}
