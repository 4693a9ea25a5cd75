/**
 * Why a socket was closed. The range tells the client what to do: 4400–4499 do not connect again blindly, everything else
 * connect again with a growing delay. 1001 is RFC 6455's "going away".
 */
export const closeCodes = {
  drain: 1001,
  badFrame: 4400,
  notAuthenticated: 4401,
  idle: 4408,
  replaced: 4409,
  tooLarge: 4413,
  limits: 4429,
  internal: 4500,
  notReady: 4503,
  slowConsumer: 4508
} as const

export type CloseReason = keyof typeof closeCodes

/** RFC 6455: `ws` closes with it by itself, without having read the frame. The same frame would be too long again. */
const frameTooLong = 1009

/** Whether a client should connect again by itself after being closed with this code. */
export function mayReconnect (code: number): boolean {
  return code !== frameTooLong && (code < 4400 || code > 4499)
}
