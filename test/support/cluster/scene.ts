import { performance } from 'node:perf_hooks'
import type { Test } from 'tap'
import { startChatting, type Chatting } from './chatting.ts'
import { checkHistory, tellViolations } from './check-history.ts'
import { startCluster, type Cluster, type ClusterOptions } from './cluster.ts'
import type { History } from './history.ts'
import { faultsOfEffects } from './outside-world.ts'

/** For tests that need servers. */
export const needsServers = {
  skip: process.env['TEST_DATABASE_URL'] === undefined && 'needs a server, named by TEST_DATABASE_URL: several nodes share no folder'
}

/** A cluster in which people chat, with a client at each gateway. */
export interface Scene {
  readonly cluster: Cluster
  readonly chatting: Chatting
  /** Compares all that clients have sent and seen with what is kept, and what tools have done. Returns the history. */
  conclude (): Promise<History>
}

/** Opens a cluster with clients. What the nodes have said is told when the test fails. */
export async function openScene (t: Test, options: ClusterOptions & { readonly users?: readonly string[] } = {}): Promise<Scene> {
  const { users = ['alice', 'bob', 'carol'], ...others } = options
  const cluster = await startCluster(t, others)
  t.teardown(() => {
    if (t.passing()) return
    for (const { name } of cluster.nodes) t.comment(`${name} said:\n${cluster.tail(name)}`)
  })
  const chatting = await startChatting(t, cluster.gateways, users)
  return {
    cluster,
    chatting,
    async conclude () {
      const history = await chatting.finish()
      const written = chatting.talkers.flatMap((talker) => talker.written)
      t.same(tellViolations(checkHistory(history)), [], 'nothing is lost, doubled or crossed')
      t.same(faultsOfEffects(cluster.world.effects, written), [], 'whatever a tool has done was done under one key')
      const messages = history.threads.flatMap((thread) => thread.messages)
      t.ok(messages.length > 0, `${messages.length} messages in ${history.threads.length} threads`)
      return history
    }
  }
}

/** How long something takes, in ms. */
export async function timed<T> (work: Promise<T>): Promise<{ readonly value: T, readonly ms: number }> {
  const from = performance.now()
  const value = await work
  return { value, ms: Math.round(performance.now() - from) }
}

/** The ways in which runs of a history have ended, each once. */
export function statusesOf ({ threads }: History): readonly string[] {
  return [...new Set(threads.flatMap(({ runs }) => runs.map(({ status }) => status)))]
}
