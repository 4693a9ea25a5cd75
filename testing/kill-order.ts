import type { Kill } from './fault.ts'

/** A kill on its way into a process, by its environment. This file is loaded before the product is, and loads nothing of it. */
export interface KillOrder {
  readonly kill: Pick<Kill, 'file' | 'line' | 'becomes'>
  /** The file to which each process that loads the kill's file appends a line: `applied`, or what was wrong. */
  readonly notes: string
}

export const applied = 'applied'

const variable = 'THREADLINE_KILL'
const load = `--import=${new URL('./apply-kill.ts', import.meta.url).href}`

/** What a process needs in its environment, beside what is in `env`. */
export function killEnvironment ({ kill: { file, line, becomes }, notes }: KillOrder, env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const order: KillOrder = { kill: { file, line, becomes }, notes }
  const options = (env['NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '' && option !== load)
  return { [variable]: JSON.stringify(order), NODE_OPTIONS: [...options, load].join(' ') }
}

export function readKillOrder (env: NodeJS.ProcessEnv): KillOrder | undefined {
  const text = env[variable]
  return text === undefined ? undefined : JSON.parse(text) as KillOrder // only killEnvironment writes it
}

/** Where the file of a kill is loaded from. */
export function urlOfKill ({ file }: Pick<Kill, 'file'>): string {
  return new URL(`../${file}`, import.meta.url).href
}

/** The source without its protection. Throws when the line does not occur exactly once. */
export function killSource (source: string, { file, line, becomes }: KillOrder['kill']): string {
  const occurrences = source.split(line).length - 1
  if (occurrences !== 1) throw new Error(`${file} has ${occurrences} times, and not once, the line: ${line.trim()}`)
  return source.replace(line, () => becomes)
}
