import { readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ThreadlineError } from '../errors.ts'
import { isAgent, type Agent } from './define-agent.ts'

/**
 * The agents of a folder: each `.ts` or `.js` file in it has one agent as its default export. Throws
 * `THREADLINE_INVALID_CONFIGURATION` that names the folder or file.
 */
export async function loadAgents (folder: string): Promise<readonly Agent[]> {
  const files = (await listFiles(folder)).filter((name) => /\.(ts|js|mjs)$/.test(name) && !/\.(d|test)\.ts$/.test(name))
  return await Promise.all(files.toSorted().map((name) => loadAgent(resolve(folder, name), name)))
}

async function listFiles (folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (cause) {
    throw new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `The agents folder ${folder} cannot be read`, { cause })
  }
}

async function loadAgent (path: string, name: string): Promise<Agent> {
  const module = await importModule(path, name)
  if (isAgent(module.default)) return module.default
  throw new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `${name} has no agent as its default export`)
}

async function importModule (path: string, name: string): Promise<{ default?: unknown }> {
  try {
    return await import(pathToFileURL(path).href) as { default?: unknown } // a module namespace
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `The agent in ${name} cannot be loaded: ${reason}`, { cause })
  }
}
