import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from './cluster/run-command.ts'

interface Test {
  teardown (fn: () => Promise<void>): void
}

export interface Certificate {
  /** PEM files. */
  readonly certificate: string
  readonly key: string
}

export interface Authority {
  /** The file of its own certificate: what trusts it. */
  readonly file: string
  /** A certificate of a server: `DNS:localhost`, `IP:127.0.0.1`, or several of these, separated by commas. */
  issue (names: string): Promise<Certificate>
}

const forADay = ['-days', '1', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** Who vouches for servers, made by openssl in a folder that goes with the test. */
export async function makeAuthority (t: Test): Promise<Authority> {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-certificates-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  const [file, key] = [join(folder, 'authority.pem'), join(folder, 'authority.key')]
  await runCommand('openssl', ['req', '-x509', ...forADay, '-subj', '/CN=Threadline test authority', '-keyout', key, '-out', file])
  let issued = 0
  return {
    file,
    async issue (names) {
      issued += 1
      const made = { certificate: join(folder, `server-${issued}.pem`), key: join(folder, `server-${issued}.key`) }
      await runCommand('openssl', [
        'req', '-x509', ...forADay, '-CA', file, '-CAkey', key, '-subj', '/CN=server',
        '-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', made.key, '-out', made.certificate
      ])
      return made
    }
  }
}
