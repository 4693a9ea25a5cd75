import fp from 'fastify-plugin'
import type { StageUser } from '../stage-user.ts'
import type { Fault } from '../fault.ts'
import { attempt } from './attempt.ts'

interface Job { readonly threadId: string, readonly title: string, readonly done: PromiseWithResolvers<void> }

/** Names threads one after the other, in a loop that the first request starts. It never ends: whoever comes later finds it running. */
const namingPlugin = fp(async (app) => {
  const jobs: Job[] = []
  let more = Promise.withResolvers<void>()
  let working: Promise<void> | undefined
  let closed = false

  async function work (): Promise<void> {
    while (!closed) {
      for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
        const { threadId, title, done } = job
        await app.gateway.perform({ type: 'rename_thread', payload: { thread_id: threadId, title } }).then(() => { done.resolve() }, done.reject)
      }
      await more.promise
      more = Promise.withResolvers()
    }
  }

  app.post<{ Body: { thread_id: string, title: string } }>('/faults/names', { schema: { hide: true } }, async ({ body }) => {
    const done = Promise.withResolvers<void>()
    jobs.push({ threadId: body.thread_id, title: body.title, done })
    more.resolve()
    working ??= work()
    await done.promise
    return {}
  })
  app.addHook('preClose', async () => {
    closed = true
    more.resolve()
    await working
  })
}, { name: 'thread-names', dependencies: ['gateway'] })

/** A plugin's worker loop: what the first user's request has started does everybody's work, in that user's name. */
export const firstUsersLoop: Fault = {
  name: 'first-users-loop',
  title: "A worker loop that one user's request has started does the work of others",
  stage: { plugins: [namingPlugin] },
  hop: 'handler',
  kill: {
    what: 'the check whose the thread is that a command names',
    file: 'lib/gateway/identity-of-command.ts',
    line: '  if (named !== undefined) await threads.require(toThreadId(named), { deleted: needs.deleted ?? false })',
    becomes: ''
  },
  async provoke (stage) {
    const [alice, bob] = await Promise.all([stage.enter('alice'), stage.enter('bob')])

    const refused = [
      ...await attempt('a request of alice', async () => { await name(stage.url, alice) }),
      ...await attempt('a request of bob', async () => { await name(stage.url, bob) })
    ]
    const titles = await Promise.all([alice, bob].map(async (user) => ({ user, title: await titleOf(stage.url, user) })))
    const delivered = titles
      .filter(({ user, title }) => title !== null && title !== titleFor(user))
      .map(({ user }) => `the thread of ${user.userId} was given another title`)

    return { delivered, refused }
  }
}

function titleFor ({ userId }: StageUser): string { return `The thread of ${userId}` }

async function name (url: string, user: StageUser): Promise<void> {
  const response = await fetch(`${url}/faults/names`, {
    method: 'POST',
    headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ thread_id: user.threadId, title: titleFor(user) })
  })
  if (!response.ok) throw new Error(await response.text())
}

async function titleOf (url: string, user: StageUser): Promise<unknown> {
  const response = await fetch(`${url}/v1/threads/${user.threadId}`, { headers: { authorization: `Bearer ${user.token}` } })
  const { thread } = await response.json() as { readonly thread: { readonly title: unknown } } // the route's own answer
  return thread.title
}
