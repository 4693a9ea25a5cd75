import { randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import type { UserId } from '../protocol/ids.ts'
import { createTokenVerifier, type TokenVerifier } from './token-verifier.ts'

const issuer = 'threadline-development'
const audience = 'threadline'

export interface DevelopmentToken {
  readonly token: string
  readonly expiresAt: Date
}

/**
 * Tokens for a server that was given no keys. They are signed with a key that is made here and never leaves, and verified
 * on the same path as any other token; none outlives the process.
 */
export interface DevelopmentTokens {
  sign (subject: { userId: UserId, expiresInSeconds?: number | undefined }): Promise<DevelopmentToken>
  readonly verify: TokenVerifier
}

export function createDevelopmentTokens (options: { clockToleranceSeconds: number }): DevelopmentTokens {
  const secret = randomBytes(32)
  return {
    verify: createTokenVerifier({ keys: { secret }, issuer, audience, clockToleranceSeconds: options.clockToleranceSeconds }),
    async sign ({ userId, expiresInSeconds = 3600 }) {
      const expiresAt = new Date((Math.floor(Date.now() / 1000) + expiresInSeconds) * 1000)
      const token = await new SignJWT().setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .setIssuer(issuer).setAudience(audience).setSubject(userId).setIssuedAt().setExpirationTime(expiresAt)
        .sign(secret)
      return { token, expiresAt }
    }
  }
}
