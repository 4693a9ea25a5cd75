import './end-of-process.ts'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'

interface Test {
  teardown (fn: () => Promise<void> | void): void
}

/** The network between one node and one server: it stands in between, and can be broken there. */
export interface TcpProxy {
  /** The server's URL, by way of the proxy. */
  readonly url: string
  /** How many bytes have arrived, in both directions. */
  readonly passedBytes: number
  /** Nothing arrives any more, in either direction, and nobody is told: as when a cable is pulled. Connections outlive it. */
  cut (): void
  /** Every connection is reset, and new ones are refused, until it heals. */
  refuse (): void
  /** Every connection is reset; new ones work. */
  reset (): void
  /** Everything that is sent takes so long, in each direction. */
  delay (delayMs: number): void
  /** Undoes `cut`, `refuse` and `delay`: what was sent meanwhile arrives. */
  heal (): void
}

/** Stands in front of the server that a URL names, on a free port of loopback. Closed with the test. */
export async function startProxy (t: Test, serverUrl: string): Promise<TcpProxy> {
  const url = new URL(serverUrl)
  const target = { host: url.hostname, port: Number(url.port) }
  const pairs = new Set<readonly [Socket, Socket]>()
  let passage = openPassage()
  let refusing = false
  let delayMs = 0
  let passedBytes = 0

  async function * passed (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      await passage.open
      if (delayMs > 0) await sleep(delayMs)
      await passage.open
      passedBytes += chunk.length
      yield chunk
    }
  }

  const server = createServer({ noDelay: true }, (inner) => {
    inner.on('error', () => {}) // the other side is told by its end
    if (refusing) return void inner.resetAndDestroy()
    const outer = connect({ ...target, noDelay: true })
    outer.on('error', () => {})
    const pair = [inner, outer] as const
    pairs.add(pair)
    const directions = [pipeline(inner, passed, outer), pipeline(outer, passed, inner)]
    void Promise.allSettled(directions).then(() => { pairs.delete(pair) })
  })
  const reset = (): void => { for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy() }
  const heal = (): void => {
    refusing = false
    delayMs = 0
    passage.let()
    passage = openPassage()
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    heal()
    reset()
    server.close()
  })
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port) // listens on TCP
  return {
    url: url.href,
    get passedBytes () { return passedBytes },
    cut: () => { passage.shut() },
    refuse () {
      refusing = true
      reset()
    },
    reset,
    delay: (ms) => { delayMs = ms },
    heal
  }
}

/** Open until it is shut. */
function openPassage () {
  let { promise, resolve } = Promise.withResolvers<void>()
  resolve()
  return {
    get open () { return promise },
    shut () { ({ promise, resolve } = Promise.withResolvers<void>()) },
    let: () => { resolve() }
  }
}
