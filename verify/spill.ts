import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SeenSpan } from './seen-span.ts'

const partitions = 64
const bufferedCharacters = 64 * 1024

/** One partition: what is waiting to be written, and the file. */
interface Partition { readonly path: string, readonly file: FileHandle, text: string }

/**
 * Spans on disk, in a temporary folder of their own, parted so that a trace is in one partition. `seed` makes another parting of what one
 * partition of a former holds. Whoever creates it removes it.
 */
export class Spill {
  readonly #folder: string
  readonly #partitions: readonly Partition[]
  readonly #seed: number

  private constructor (folder: string, opened: readonly Partition[], seed: number) {
    this.#folder = folder
    this.#partitions = opened
    this.#seed = seed
  }

  /** Rejects with Node's error when the folder cannot be written to; nothing is left then. */
  static async create (seed: number, directory: string = tmpdir()): Promise<Spill> {
    const folder = await mkdtemp(join(directory, 'threadline-verify-'))
    const opened: Partition[] = []
    try {
      for (let index = 0; index < partitions; index += 1) {
        const path = join(folder, `${index}.jsonl`)
        opened.push({ path, file: await open(path, 'w', 0o600), text: '' })
      }
      return new Spill(folder, opened, seed)
    } catch (error) {
      await remove(folder, opened)
      throw error
    }
  }

  async write (traces: ReadonlyMap<string, readonly SeenSpan[]>): Promise<void> {
    for (const [traceId, spans] of traces) {
      const partition = this.#partitions[hashOf(traceId, this.#seed) % partitions]
      if (partition === undefined) continue
      for (const span of spans) {
        partition.text += `${lineOf(span)}\n`
        if (partition.text.length >= bufferedCharacters) await flush(partition)
      }
    }
  }

  /** The spans of each partition, one partition after the other. Nothing is written any more. */
  async * read (): AsyncGenerator<AsyncGenerator<SeenSpan>> {
    for (const partition of this.#partitions) {
      await flush(partition)
      yield spansOf(partition)
    }
  }

  async remove (): Promise<void> { await remove(this.#folder, this.#partitions) }
}

/** JSON on one line, in the eyes of Node's `readLines` too: it ends lines at two characters that JSON may have in its texts. */
function lineOf (span: SeenSpan): string {
  return JSON.stringify(span).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
}

async function flush (partition: Partition): Promise<void> {
  const { file, text } = partition
  partition.text = ''
  if (text !== '') await file.appendFile(text)
}

async function * spansOf ({ path }: Partition): AsyncGenerator<SeenSpan> {
  const file = await open(path)
  try {
    for await (const line of file.readLines()) yield JSON.parse(line) as SeenSpan // written by this class
  } finally {
    await file.close()
  }
}

async function remove (folder: string, opened: readonly Partition[]): Promise<void> {
  await Promise.allSettled(opened.map(({ file }) => file.close()))
  await rm(folder, { recursive: true, force: true })
}

/** FNV-1a, by which spans of a trace meet again; it does not have to withstand anybody. */
function hashOf (text: string, seed: number): number {
  let hash = 2_166_136_261 ^ seed
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 16_777_619)
  return (hash ^ hash >>> 15) >>> 0
}
