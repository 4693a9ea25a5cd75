/** When and whether to connect again. Pure: chance is passed in, and nothing here waits. */
export interface ReconnectPolicy {
  /** The most that the first delay can be. It doubles with each attempt in a row. */
  readonly baseMs: number
  /** The most that any delay can be. */
  readonly maxMs: number
  /** How often in a row it is tried again before the client gives up. */
  readonly maxAttempts: number
  /** A connection that lived this long starts the counting anew; a shorter one is one more failure. */
  readonly stableMs: number
}

export const defaultReconnectPolicy: ReconnectPolicy = {
  baseMs: 500,
  maxMs: 30_000,
  maxAttempts: Infinity,
  stableMs: 10_000
}

/**
 * How long to wait before attempt `attempt` (from 0) in a row: anything between nothing and a bound that doubles up to
 * `maxMs` ("full jitter", AWS Architecture Blog, Exponential Backoff and Jitter), so that the clients of a server that went
 * away do not come back at the same moment. `random` gives a number from 0 up to but not including 1.
 */
export function reconnectDelayMs (attempt: number, policy: ReconnectPolicy, random: () => number): number {
  return Math.floor(random() * Math.min(policy.maxMs, policy.baseMs * 2 ** attempt))
}

/** Whether to connect again after this close code: not in 4400–4499 and not for a frame that is too long (1009), where the same attempt would only fail again. */
export function mayReconnect (code: number): boolean {
  return code !== 1009 && (code < 4400 || code > 4499)
}

const meanings: ReadonlyMap<number, string> = new Map([
  [4400, 'a frame could not be read'],
  [4401, 'the token was not accepted, or has expired'],
  [4403, 'the origin is not allowed'],
  [4404, 'there is no such thread, or no Threadline at this address'],
  [4408, 'nothing was heard for too long'],
  [4409, 'another connection took its place'],
  [4413, 'a frame was too large'],
  [4429, 'too many connections or messages']
])

/** In words, why a connection was refused; undefined for a code that nobody gave a meaning. */
export function meaningOf (code: number): string | undefined {
  return meanings.get(code)
}

const notAuthenticated = 4401
const idle = 4408
const limits = 4429

/** After a close: stop for good, try once more at once with a new token, or try again after a delay. */
export type NextStep = 'stop' | 'renew' | 'wait'

export function nextStep (code: number, renewal: { readonly canRenew: boolean, readonly alreadyRenewed: boolean }): NextStep {
  if (mayReconnect(code)) return 'wait'
  return code === notAuthenticated && renewal.canRenew && !renewal.alreadyRenewed ? 'renew' : 'stop'
}

/** How often in a row the client comes again when it is asked to, where it would stop else. */
const maxDeferrals = 5
/** The longest that it waits for that: whoever asks for more may be a proxy that knows nothing of this service. */
const maxRetryAfterMs = 60_000

/**
 * How long to wait before the next attempt, when the server asks to come again (`Retry-After`): as long, and something more, so that not everybody comes at the same
 * moment. Undefined when it does not, where coming again would change nothing, and when it has asked too often: then `nextStep` says what to do.
 */
export function deferralMs (
  { code, retryAfterMs }: { readonly code: number, readonly retryAfterMs?: number | undefined }, deferrals: number, policy: ReconnectPolicy, random: () => number
): number | undefined {
  if (retryAfterMs === undefined || deferrals >= maxDeferrals || !(code === limits || mayReconnect(code))) return undefined
  return Math.min(retryAfterMs, maxRetryAfterMs) + reconnectDelayMs(0, policy, random)
}

/** Whether a later, unchanged attempt by hand can succeed where the client itself must not go on. */
export function isRetryableByHand (code: number): boolean {
  return code === idle || code === limits
}
