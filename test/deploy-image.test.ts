import { execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createThrowawayDatabase } from './support/throwaway-database.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
/** As in the Dockerfile. */
const nobody = '65532'

/** Why the image's steps cannot be done here; false where they can. */
function obstacle (): string | false {
  if (process.getuid?.() !== 0) return 'needs root, to become nobody and to mount read-only'
  if (!existsSync('/usr/bin/setpriv') || !existsSync('/usr/bin/unshare')) return 'needs setpriv and unshare (Debian package util-linux)'
  try {
    execFileSync('unshare', ['-m', 'true'], { stdio: 'ignore' })
    return false
  } catch {
    return 'may not make a mount namespace here'
  }
}

/** What the image has below its working folder: the production dependencies of the lock, and what the build makes. */
async function assemble (t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-image-'))
  t.teardown(async () => { await rm(folder, { recursive: true, force: true }) })
  await chmod(folder, 0o755)
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as { packages: Readonly<Record<string, { dev?: boolean, devOptional?: boolean }>> } // npm's format
  // As `npm ci --omit=dev` would install them, without a registry. Those of another platform are not there to be copied.
  const wanted = Object.entries(packages).filter(([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true && existsSync(join(root, path)))
  // By links where the disk is the same, which takes no time; nothing may write there.
  const paths = wanted.map(([path]) => path)
  await run('cp', ['-al', '--parents', ...paths, folder], { cwd: root }).catch(async () => await run('cp', ['-a', '--parents', ...paths, folder], { cwd: root }))
  await cp(join(root, 'package.json'), join(folder, 'package.json'))
  await run(process.execPath, [join(root, 'node_modules/typescript/lib/tsc.js'), '-p', join(root, 'tsconfig.build.json'), '--outDir', join(folder, 'dist')])
  await run('chmod', ['-R', 'a+rX', join(folder, 'dist')])
  return folder
}

/** The words of the Dockerfile's last command, in JSON as it has them. */
async function entrypoint (): Promise<readonly string[]> {
  const [, words = '[]'] = /^ENTRYPOINT (\[.*\])$/m.exec(await readFile(join(root, 'Dockerfile'), 'utf8')) ?? []
  return JSON.parse(words) as string[] // an array of words, or Docker would refuse it
}

interface Started { readonly url: string, readonly lines: readonly string[], end (): Promise<number | string> }

/** Runs the command as nobody, where everything that it could write to is read-only. */
async function start (t: Test, folder: string, command: readonly string[], env: Readonly<Record<string, string>>): Promise<Started> {
  const [, ...args] = command
  const steps = [
    'folder=$0 user=$1; shift',
    'mount --bind $folder $folder; mount -o remount,bind,ro $folder; cd $folder',
    'unset NODE_OPTIONS', // by which the test runner follows processes, and writes about them
    'exec setpriv --reuid=$user --regid=$user --clear-groups --no-new-privs --inh-caps=-all -- "$@"'
  ]
  const child = spawn('unshare', ['-m', 'sh', '-euc', steps.join('\n'), folder, nobody, process.execPath, ...args], {
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', NODE_ENV: 'production', AGENTS_DIR: join(folder, 'dist/agents'), ...env }, stdio: ['ignore', 'pipe', 'pipe']
  })
  const ended = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => { resolve(code ?? signal ?? 'unknown') }))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const lines: string[] = []
  const url = await new Promise<string>((resolve, reject) => {
    const read = (line: string): void => {
      lines.push(line)
      const address = /Server listening at (http:\/\/[^"\s]+)/.exec(line)?.[1]
      if (address !== undefined) resolve(address)
    }
    createInterface({ input: child.stdout }).on('line', read)
    createInterface({ input: child.stderr }).on('line', read)
    child.once('close', () => { reject(new Error(`It did not start:\n${lines.join('\n')}`)) })
  })
  return {
    url,
    lines,
    async end () {
      child.kill('SIGTERM')
      return await ended
    }
  }
}

t.test('what the image has runs as nobody on a read-only file system, and ends by SIGTERM', { skip: obstacle() || (process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL') }, async (t) => {
  const database = await createThrowawayDatabase()
  if (database === undefined) throw new Error('TEST_DATABASE_URL is not set')
  t.teardown(async () => { await database.drop() })
  const folder = await assemble(t)
  t.notOk(existsSync(join(folder, 'node_modules/tap')), 'without what only development needs')

  const auth = { AUTH_SECRET: 'a-secret-of-at-least-thirty-two-bytes', AUTH_ISSUER: 'x', AUTH_AUDIENCE: 'y' }
  const server = await start(t, folder, await entrypoint(), { DATABASE_URL: database.url, HOST: '0.0.0.0', PORT: '0', ...auth })
  const [ready, agents] = await Promise.all([fetch(`${server.url}/health/ready`), fetch(`${server.url}/v1/agents`)])
  const { stdout: migrated } = await run(process.execPath, [join(folder, 'dist/bin/threadline.js'), 'migrate'], { env: { DATABASE_URL: database.url } })

  t.equal(ready.status, 200, server.lines.join('\n'))
  t.equal(agents.status, 401, 'nobody gets in without a token')
  t.match(migrated, /✓ The schema was in the newest state/, 'the command is in it, too')
  t.equal(await server.end(), 0, 'it drains and ends by itself')
  t.notMatch(server.lines.join('\n'), /EROFS|EACCES|read-only/i, 'nothing wanted to write')
})
