import { isLoopbackHost } from '../../../lib/auth/loopback.ts'
import { findingsOf, type Finding } from '../finding.ts'
import type { Configuration } from '../read-configuration.ts'
import { reasonOf } from '../reason-of.ts'

const oldestNode = 24

export function inspectNode (version: string): readonly Finding[] {
  const { ok, failed } = findingsOf('Node')
  return [Number.parseInt(version, 10) < oldestNode ? failed(version, `Use Node ${oldestNode} or newer`) : ok(version)]
}

/** Whether each node signs by a key that is not in the database as well, where there are several. */
export function inspectSigningKey ({ databaseUrl, role, redisUrl, signingKeys, ownSigningKey }: Configuration): readonly Finding[] {
  const { ok, warning } = findingsOf('Signing key')
  if (ownSigningKey !== undefined && signingKeys.includes('database')) {
    return [warning(
      'the database\'s key is trusted beside SIGNING_KEYS: whoever can read all of the database can sign runs, too',
      'Once every node signs with the other one, and no run is left that was queued before, take "database" out of SIGNING_KEYS on all nodes'
    )]
  }
  if (ownSigningKey !== undefined) return [ok(`${signingKeys.length} in SIGNING_KEYS`)]
  if (databaseUrl === undefined || (role === 'all' && redisUrl === undefined)) return [ok('kept by the database')]
  return [warning(
    'kept by the database: whoever can read all of that can sign runs, too',
    'Give all nodes the same SIGNING_KEYS, such as the output of: openssl rand -hex 32'
  )]
}

export async function inspectAuthentication ({ authJwksUrl, authSecret, host }: Configuration): Promise<readonly Finding[]> {
  const { ok, warning, failed } = findingsOf('Authentication')
  if (authSecret !== undefined) return [ok('by AUTH_SECRET')]
  if (authJwksUrl !== undefined) {
    try {
      const { ok: isFine, status } = await fetch(authJwksUrl, { signal: AbortSignal.timeout(5_000) })
      return [isFine ? ok('the keys of AUTH_JWKS_URL can be read') : failed(`AUTH_JWKS_URL answers ${status}`, 'Check the address: without keys every token is refused')]
    } catch (error) {
      return [failed(`AUTH_JWKS_URL cannot be read: ${reasonOf(error)}`, 'Check the address, and that this machine may go there: without keys every token is refused')]
    }
  }
  const advice = 'Set AUTH_JWKS_URL (or AUTH_SECRET), AUTH_ISSUER and AUTH_AUDIENCE'
  if (!isLoopbackHost(host)) return [failed(`the server refuses to start with HOST=${host} and development tokens`, advice)]
  return [warning('development tokens: whoever reaches this machine may be anybody', `${advice} before anybody else uses it`)]
}
