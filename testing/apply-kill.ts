/**
 * The preload of a process that runs without one of its protections, see `kill-order.ts`. It changes one line of one source file as Node
 * loads it, and notes that it did; nothing on the disk is changed, and the product knows nothing of it.
 */
import { ChildProcess } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { applied, killEnvironment, killSource, readKillOrder, urlOfKill, type KillOrder } from './kill-order.ts'

const order = readKillOrder(process.env)
if (order !== undefined) {
  killOnLoad(order)
  handOn(order)
}

function killOnLoad ({ kill, notes }: KillOrder): void {
  const target = urlOfKill(kill)
  const note = (text: string): void => { appendFileSync(notes, `${text}\n`) }
  registerHooks({
    load (url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      // A copy that is loaded by a query of its own is without the protection as well.
      if (url.split('?', 1)[0] !== target) return loaded
      try {
        // The types are still in it: Node strips them from what a hook hands on, as the format says.
        const source = killSource(textOf(loaded.source), kill)
        note(applied)
        return { ...loaded, source }
      } catch (error) {
        note(error instanceof Error ? error.message : String(error))
        throw error
      }
    }
  })
}

function textOf (source: unknown): string {
  if (typeof source === 'string') return source
  if (source instanceof Uint8Array || source instanceof ArrayBuffer) return new TextDecoder().decode(source)
  throw new Error('Node gives no source to the load hook')
}

/** What every process is started by, whichever function was called; Node documents the functions alone. */
interface Starter { spawn: (this: Starter, options: { envPairs?: string[] }) => unknown }

/** Processes that are given an environment of their own, as the embedded database is, get the kill as well. */
function handOn (order: KillOrder): void {
  const starter = ChildProcess.prototype as unknown as Starter // its method is not in the types
  const { spawn } = starter
  starter.spawn = function (options) {
    const given = Object.fromEntries((options.envPairs ?? []).map((pair) => splitOnce(pair)))
    const env = { ...given, ...killEnvironment(order, given) }
    return spawn.call(this, { ...options, envPairs: Object.entries(env).map(([name, value]) => `${name}=${value}`) })
  }
}

function splitOnce (pair: string): [string, string] {
  const end = pair.indexOf('=')
  return [pair.slice(0, end), pair.slice(end + 1)]
}
