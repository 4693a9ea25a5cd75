import { SignJWT } from 'jose'

const secret = 'a secret of the tests of a cluster, and of nothing else'
const issuer = 'https://issuer.test'
const audience = 'threadline'

/** The same on every node, so that each of them knows every user. */
export const accessSettings = { AUTH_SECRET: secret, AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience } as const

export async function tokenOf (user: string): Promise<string> {
  return await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setSubject(user).setIssuer(issuer).setAudience(audience)
    .setIssuedAt().setExpirationTime('2h').sign(new TextEncoder().encode(secret))
}
