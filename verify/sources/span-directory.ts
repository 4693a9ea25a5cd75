import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Span } from '../span.ts'
import { reasonOf, type Notices } from './notices.ts'
import { readSpanFile } from './span-file.ts'

/** Lines are looked for in pieces of this size. */
const highWaterMark = 256 * 1024

/**
 * The spans of a file, or of all files in a directory and below it, in pieces and in the order of their names, numbers as numbers: so those that the
 * collector has rotated away (`traces-2026-11-22T09-00-00.000.json`) come before the one that it writes (`traces.json`). What holds no traces is
 * named as skipped, and so are links to directories; hidden files are passed over. It never throws.
 */
export async function * readSpanPath (path: string, notices: Notices, signal?: AbortSignal): AsyncGenerator<readonly Span[], void> {
  let files: readonly string[] | undefined
  try {
    if ((await stat(path)).isDirectory()) files = await listFiles(path, notices)
  } catch (error) {
    notices.problem(`Could not read ${path}: ${reasonOf(error)}`)
    return
  }
  if (files === undefined) {
    yield * readSpanFile(open(path, signal), { name: path, notices })
    return
  }
  if (files.length === 0) notices.note(`${path} has no files`)
  for (const file of files) {
    if (signal?.aborted === true) return
    yield * readSpanFile(open(file, signal), { name: file, notices, isOneOfMany: true })
  }
}

function open (path: string, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark, ...(signal === undefined ? {} : { signal }) })
}

const { compare } = new Intl.Collator('en', { numeric: true })

async function listFiles (directory: string, notices: Notices): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files: string[] = []
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    const file = relative(directory, path)
    if (entry.isDirectory() || /(?:^|[/\\])\./.test(file)) continue
    if (entry.isFile() || (entry.isSymbolicLink() && await leadsToFile(path))) files.push(file)
    else notices.note(`Skipped ${path}: it is no file`)
  }
  return files
    .toSorted((a, b) => compare(withoutExtensions(a), withoutExtensions(b)))
    .map((file) => join(directory, file))
}

/** True for a link that leads nowhere, too: reading it tells so. */
async function leadsToFile (link: string): Promise<boolean> {
  return (await stat(link).catch(() => undefined))?.isFile() !== false
}

/** The current file comes last: what `-` and a time are added to, sorts behind it. */
function withoutExtensions (file: string): string {
  return file.replace(/(?:\.[A-Za-z]+)+$/, '\uffff')
}
