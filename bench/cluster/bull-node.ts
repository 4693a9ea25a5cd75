import { setTimeout as delay } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import { answerQuestions } from '../support/program.ts'

/** A producer or a worker of BullMQ, in a process of its own. A job is "accepted" when `add` has resolved. */
export type BullNode = {
  produce: (place: Place) => Promise<null>
  work: (place: Place) => Promise<null>
  send: (input: { messages: number, users: number, pauseMs: number }) => Promise<Readonly<Record<string, number>>>
  begun: (jobs: readonly string[]) => Promise<Readonly<Record<string, number>>>
  /** Takes all of the queue away. */
  remove: (nothing: null) => Promise<null>
}

interface Place { readonly redisUrl: string, readonly queue: string }

const now = (): number => performance.timeOrigin + performance.now()
const patienceMs = 30_000
const begun = new Map<string, number>()
let queue: Queue

answerQuestions({
  async produce ({ redisUrl, queue: name }: Place) {
    queue = new Queue(name, { connection: { url: redisUrl } })
    await queue.waitUntilReady()
    return null
  },
  async work ({ redisUrl, queue: name }: Place) {
    const worker = new Worker(name, async ({ id }) => { begun.set(id ?? '', now()) }, { connection: { url: redisUrl }, concurrency: 64 })
    await worker.waitUntilReady()
    return null
  },
  async send ({ messages, users, pauseMs }: { messages: number, users: number, pauseMs: number }) {
    const accepted: Record<string, number> = {}
    await Promise.all(Array.from({ length: users }, async () => {
      for (let message = 0; message < messages / users; message += 1) {
        const { id } = await queue.add('run', { content: 'What time is it?' })
        accepted[id ?? ''] = now()
        await delay(pauseMs)
      }
    }))
    return accepted
  },
  async begun (jobs: readonly string[]) {
    const end = now() + patienceMs
    while (!jobs.every((job) => begun.has(job)) && now() < end) await delay(5)
    return Object.fromEntries(begun)
  },
  async remove () {
    await queue.obliterate({ force: true })
    return null
  }
} satisfies BullNode)
