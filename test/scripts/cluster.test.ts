import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseEnv } from 'node:util'
import t, { type Test } from 'tap'
import { findPostgres } from '../support/cluster/postgres-server.ts'
import { findRedis } from '../support/cluster/redis-server.ts'

t.setTimeout(280_000)

const needsPrograms = { skip: (findPostgres() === undefined && 'needs the programs of Postgres') || (findRedis() === undefined && 'needs Redis') }
const repository = join(import.meta.dirname, '../..')
/** What a checkout makes for itself: a copy has to have its own. */
const ownToEach = ['.git', '.run', '.tap', 'data', 'scripts']
const nodes = ['gateway-1', 'gateway-2', 'worker-1', 'worker-2']

interface Said { readonly code: number | null, readonly out: string, readonly err: string }

/** Runs a program to its end, with nothing in its environment that configures a service. */
async function run (file: string, args: readonly string[], input = ''): Promise<Said> {
  const child = spawn(file, args, { env: { PATH: process.env['PATH'] }, timeout: 150_000 })
  child.stdin.end(input)
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve))
  const [code, out, err] = await Promise.all([ended, text(child.stdout), text(child.stderr)])
  return { code, out, err }
}

/** A checkout beside this one, whose servers and nodes are its own. They end with the test. */
async function copyOfTheCheckout (t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 'threadline-cluster-'))
  for (const entry of await readdir(repository)) {
    if (!ownToEach.includes(entry)) await symlink(join(repository, entry), join(folder, entry))
  }
  await cp(join(repository, 'scripts'), join(folder, 'scripts'), { recursive: true })
  const cluster = async (...args: readonly string[]): Promise<Said> => await run(join(folder, 'scripts/cluster.sh'), args)
  t.teardown(async () => {
    await cluster('stop')
    await rm(folder, { recursive: true, force: true })
  })
  return { folder, cluster }
}

async function say (url: string | undefined, user: string, words: string): Promise<Said> {
  return await run(process.execPath, [join(repository, 'bin/chat.ts'), '--user', user, '--url', url ?? '', '--once'], words)
}

async function titlesOf (url: string | undefined, user: string): Promise<readonly string[]> {
  const signedIn = await fetch(`${url}/v1/dev/tokens`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user_id: user }) })
  const { token } = await signedIn.json() as { token: string } // as docs/protocol.md has it
  const answer = await fetch(`${url}/v1/threads`, { headers: { authorization: `Bearer ${token}` } })
  return (await answer.json() as { threads: { title: string }[] }).threads.map(({ title }) => title) // the same
}

async function killPostgres (folder: string): Promise<void> {
  const known = parseEnv(await readFile(join(folder, '.run/services'), 'utf8'))
  const [pid] = (await readFile(join(known['POSTGRES_FOLDER'] ?? '', 'data/postmaster.pid'), 'utf8')).split('\n')
  process.kill(Number(pid), 'SIGKILL')
}

t.test('scripts/cluster.sh starts a cluster, whose servers and nodes come back when they were killed, and ends all of it', needsPrograms, async (t) => {
  const { folder, cluster } = await copyOfTheCheckout(t)

  const started = await cluster('start')
  t.equal(started.code, 0, started.err)
  const { GATEWAY_1: first, GATEWAY_2: second } = parseEnv((await cluster('env')).out)
  t.equal((await cluster('status')).code, 0, 'all nodes answer')
  t.match(await say(first, 'alice', 'This is of alice'), { code: 0, out: /completed/ })
  t.match(await say(second, 'bob', 'This is of bob'), { code: 0, out: /completed/ })

  for (const victim of ['gateway-1', 'worker-1', 'redis']) t.equal((await cluster('kill', victim)).code, 0, `${victim} is killed`)
  await killPostgres(folder)
  t.match(await cluster('status'), { code: 1, out: /gateway-1 does not run\ngateway-2 runs and is not ready .*\nworker-1 does not run\n/ })
  const revived = await cluster('start')
  t.equal(revived.code, 0, revived.err)
  t.same(parseEnv((await cluster('env')).out), { GATEWAY_1: first, GATEWAY_2: second }, 'gateways are where they were')
  t.equal((await cluster('restart', 'gateway-2')).code, 0)
  t.equal((await cluster('status')).code, 0, 'all nodes answer again')
  t.same([await titlesOf(second, 'alice'), await titlesOf(first, 'bob')], [['This is of alice'], ['This is of bob']], 'what was said is there')
  t.match(await say(second, 'alice', 'And so is this'), { code: 0, out: /completed/ })

  t.equal((await cluster('stop')).code, 0)
  t.match(await cluster('status'), { code: 1, out: nodes.map((name) => `${name} does not run\n`).join('') })
  t.notOk(existsSync(join(folder, '.run/services')), 'the servers have ended, too')
  t.match(await cluster('kill', 'worker-3'), { code: 1, err: /there is no node worker-3/ })
})
