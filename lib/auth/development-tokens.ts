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
 * Tokens for a server that was given no keys of an issuer. They are verified on the same path as any other token. Without a `secret` they are signed
 * with a key that is made here and never leaves, and none outlives the process.
 */
export interface DevelopmentTokens {
  sign (subject: { userId: UserId, expiresInSeconds?: number | undefined }): Promise<DevelopmentToken>
  readonly verify: TokenVerifier
}

export interface DevelopmentTokensOptions {
  readonly clockToleranceSeconds: number
  /** 32 bytes that all nodes have. */
  readonly secret?: Uint8Array | undefined
}

export function createDevelopmentTokens ({ clockToleranceSeconds, secret = randomBytes(32) }: DevelopmentTokensOptions): DevelopmentTokens {
  return {
    verify: createTokenVerifier({ keys: { secret }, issuer, audience, clockToleranceSeconds }),
    async sign ({ userId, expiresInSeconds = 3600 }) {
      const expiresAt = new Date((Math.floor(Date.now() / 1000) + expiresInSeconds) * 1000)
      const token = await new SignJWT().setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .setIssuer(issuer).setAudience(audience).setSubject(userId).setIssuedAt().setExpirationTime(expiresAt)
        .sign(secret)
      return { token, expiresAt }
    }
  }
}
