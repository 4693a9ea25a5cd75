import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { createCounter } from './instruments.ts'
import { metricDefinitions } from './metric-definitions.ts'

/** What is signed, so that a signature of one kind is worth nothing as another. */
export const signatureAudiences = ['run', 'bus'] as const
export type Audience = typeof signatureAudiences[number]

/**
 * Why a signature was refused. `missing`: there is none. `malformed`: it is no signature of ours. `foreign`: it was made with a key that this
 * service does not have, or for something else. `expired`: its time is over. `forged`: it does not belong to what it stands with.
 */
export const signatureRefusals = ['missing', 'malformed', 'foreign', 'expired', 'forged'] as const
export type SignatureRefusal = typeof signatureRefusals[number]

/**
 * Signs what leaves this process and comes back to one of ours: through the database, through Redis. A signature is
 * `v1.<audience>.<key id>.<expires, Unix seconds>.<HMAC-SHA-256, base64url>`, without what it signs.
 */
export interface Signer {
  /** The clock by which signatures expire: Unix time in ms. */
  readonly now: () => number
  /** `lifeMs`: how long it is good. */
  sign (audience: Audience, fields: SignedFields, lifeMs: number): string
  /** Undefined when the signature is good; else the refusal, which has been counted. Never throws. */
  refuse (audience: Audience, fields: SignedFields, signature: string | null | undefined): SignatureRefusal | undefined
}

/** In an order that is the caller's and never changes. */
export type SignedFields = readonly (string | null | undefined)[]

/** Among keys that are configured, the one that the database keeps. Too short for a key of somebody's own. */
export const storedKeyName = 'database'

const refused = createCounter(metricDefinitions.refusedSignatures)
const expression = /^v1\.([a-z]+)\.([0-9a-f]{8})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})$/

/** The first key signs, all of them verify, so that a key can be changed while nodes with the old one still run. Each has at least 32 bytes. */
export function createSigner (keys: readonly [Uint8Array, ...Uint8Array[]], now: () => number = Date.now): Signer {
  const derived = keys.map((secret) => deriveKey(secret, 'threadline signatures'))
  const known = new Map(derived.map((key) => [keyIdOf(key), key]))
  const [current] = derived
  if (current === undefined) throw new TypeError('A signer needs a key')
  const currentId = keyIdOf(current)

  function judge (audience: Audience, fields: SignedFields, signature: string | null | undefined): SignatureRefusal | undefined {
    if (signature === null || signature === undefined || signature === '') return 'missing'
    const [, signedAudience, keyId, expires, mac] = expression.exec(signature) ?? []
    if (signedAudience === undefined || keyId === undefined || expires === undefined || mac === undefined) return 'malformed'
    const key = known.get(keyId)
    if (key === undefined || signedAudience !== audience) return 'foreign'
    const expected = macOf(key, audience, fields, expires)
    if (!timingSafeEqual(Buffer.from(expected), Buffer.from(mac))) return 'forged'
    return Number(expires) * 1_000 <= now() ? 'expired' : undefined
  }

  return {
    now,
    sign (audience, fields, lifeMs) {
      const expires = String(Math.ceil((now() + lifeMs) / 1_000))
      return `v1.${audience}.${currentId}.${expires}.${macOf(current, audience, fields, expires)}`
    },
    refuse (audience, fields, signature) {
      const refusal = judge(audience, fields, signature)
      if (refusal !== undefined) refused.add(1, { audience, reason: refusal })
      return refusal
    }
  }
}

/** When a signature's time is over, as whoever made it has said: Unix time in ms. NaN for what is no signature of ours. */
export function expiryOf (signature: string): number {
  return Number(expression.exec(signature)?.[3]) * 1_000
}

/** A key of its own for each purpose (HKDF, RFC 5869), so that none of them tells anything about another. */
export function deriveKey (secret: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', purpose, 32))
}

function macOf (key: Uint8Array, audience: Audience, fields: SignedFields, expires: string): string {
  return createHmac('sha256', key).update(JSON.stringify([audience, expires, fields.map((field) => field ?? null)])).digest('base64url')
}

function keyIdOf (key: Uint8Array): string {
  return createHash('sha256').update('key id').update(key).digest('hex').slice(0, 8)
}
