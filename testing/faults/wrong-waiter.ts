import fp from 'fastify-plugin'
import type { StageUser } from '../stage-user.ts'
import type { Fault } from '../fault.ts'
import { attempt } from './attempt.ts'

/** One place. Who gives it back calls whoever has waited longest. */
class Pool {
  readonly #waiting: (() => void)[] = []
  readonly #waited = Promise.withResolvers<void>()
  #taken = false

  /** Resolves when somebody has to wait. */
  get waited (): Promise<void> { return this.#waited.promise }

  take (then: () => void): void {
    if (this.#taken) {
      this.#waiting.push(then)
      this.#waited.resolve()
      return
    }
    this.#taken = true
    then()
  }

  giveBack (): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#taken = false
    else next()
  }
}

const pooled = 'x-pooled'

/** Lets requests that ask for it pass one at a time, with a hook by callback. The first goes on when another one waits. */
const poolingPlugin = fp(async (app) => {
  const pool = new Pool()
  app.addHook('preHandler', (request, _reply, done) => {
    if (request.headers[pooled] === undefined) done()
    else pool.take(() => { void afterwards(pool.waited, done) })
  })
  app.addHook('onSend', (request, _reply, payload, done) => {
    done(null, payload)
    if (request.headers[pooled] !== undefined) pool.giveBack()
  })
}, { name: 'request-pool' })

async function afterwards (waited: Promise<void>, then: () => void): Promise<void> {
  await waited
  then()
}

/** A plugin's pool of callbacks between authentication and handlers: whoever gives a place back calls the one who waits for it. */
export const wrongWaiter: Fault = {
  name: 'wrong-waiter',
  title: "A callback pool goes on with one user's request in the context of another's",
  stage: { plugins: [poolingPlugin] },
  hop: 'handler',
  kill: {
    what: 'the identity that a request enters again before its handler',
    file: 'plugins/authentication.ts',
    line: '    return enterThread(own.identity, answer, { parent: own.span })',
    becomes: '    return answer()'
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])
    const delivered: string[] = []

    const refused = await Promise.all([{ user: alice, other: bob }, { user: bob, other: alice }].map(async ({ user, other }) => {
      return await attempt(`a request of ${user.userId}`, async () => {
        const threads = await get(stage.url, '/v1/threads', user)
        if (threads.includes(other.threadId)) delivered.push(`${user.userId} was given a list of the threads of ${other.userId}`)
      })
    }))

    return { delivered, refused: refused.flat() }
  }
}

async function get (url: string, path: string, { token }: StageUser): Promise<string> {
  const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}`, [pooled]: 'yes' } })
  const text = await response.text()
  if (!response.ok) throw new Error(text)
  return text
}
