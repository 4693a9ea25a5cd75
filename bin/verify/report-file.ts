import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'

/** Where a report goes, piece by piece. */
export interface ReportFile {
  /** Resolves when more may come. Rejects when it cannot be written. */
  write (text: string): Promise<void>
  /** Makes it whole. */
  finish (): Promise<void>
  /** Leaves nothing behind of one that will not be whole. Never rejects. */
  abandon (): Promise<void>
}

/** A file that is there when it is whole, and not before. Rejects when it cannot be made. */
export async function createReportFile (path: string): Promise<ReportFile> {
  const unfinished = `${path}.${process.pid}.tmp`
  const stream = createWriteStream(unfinished, { flags: 'wx' })
  await once(stream, 'open')
  let failure: Error | undefined
  stream.on('error', (error) => { failure = error })
  return {
    async write (text) {
      if (failure !== undefined) throw failure
      if (!stream.write(text)) await once(stream, 'drain')
    },
    async finish () {
      stream.end()
      await once(stream, 'close')
      if (failure !== undefined) throw failure
      await rename(unfinished, path)
    },
    async abandon () {
      stream.destroy()
      await rm(unfinished, { force: true }).catch(() => {})
    }
  }
}

/** The standard output. Whoever read it may be gone, as after `| head -1`: what is verified still decides the exit code. */
export function toStandardOutput (stream: NodeJS.WriteStream): ReportFile {
  let isGone = false
  stream.on('error', () => { isGone = true })
  return {
    async write (text) {
      if (isGone || text === '' || stream.write(text)) return
      await Promise.race([once(stream, 'drain'), once(stream, 'close')]).catch(() => {})
    },
    finish: async () => {},
    abandon: async () => {}
  }
}
