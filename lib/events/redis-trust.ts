import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { distrustOf } from '../context/distrusted-certificate.ts'
import { ThreadlineError } from '../errors.ts'

/** What the connections are encrypted with; nothing without `rediss:`. `authorities` are certificates as PEM, in place of those that Node trusts. */
export function encryptionFor (protocol: string, host: string, authorities: string | undefined): { tls?: ConnectionOptions } {
  if (protocol !== 'rediss:') return {}
  return {
    tls: {
      ...isIP(host) === 0 ? { servername: host } : {}, // an address is no name of a server (RFC 6066, section 3); it is checked all the same
      ...authorities === undefined ? {} : { ca: authorities }
    }
  }
}

/** The text of `REDIS_CA_FILE`. Throws `THREADLINE_INVALID_CONFIGURATION` when it cannot be read, or holds no certificate. */
export async function readAuthorities (file: string): Promise<string> {
  try {
    const text = await readFile(file, 'utf8')
    void new X509Certificate(text) // throws for what is none
    return text
  } catch (cause) {
    throw new ThreadlineError(
      'THREADLINE_INVALID_CONFIGURATION', 'REDIS_CA_FILE must be a file of certificates (PEM) that this process can read', { field: 'REDIS_CA_FILE', cause }
    )
  }
}

/** A server that is not trusted as `THREADLINE_INVALID_CONFIGURATION` that says what to do; every other error as it is. */
export function toRedisError (error: unknown): unknown {
  return distrustOf(error, {
    name: 'Redis',
    field: 'REDIS_CA_FILE',
    remedy: 'name the file of its authority in REDIS_CA_FILE, and the server in REDIS_URL as its certificate does'
  }) ?? error
}
