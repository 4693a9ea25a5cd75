import { createReadStream } from 'node:fs'
import { collectNotices } from '../../bin/verify/collect-notices.ts'
import type { Report } from '../../verify/report.ts'
import { eachSpan } from '../../verify/sources/each-span.ts'
import { readSpanFile } from '../../verify/sources/span-file.ts'
import { verifyStream } from '../../verify/verify-stream.ts'
import { answerQuestions } from '../support/program.ts'

/** What it took to verify a file. Memory is the most that the process has held, the runtime included. */
export interface Verified { readonly spans: number, readonly clean: number, readonly seconds: number, readonly maxMegabytes: number }

/** A process that reads and verifies a file as `threadline verify` does. */
export type VerifiedSpans = {
  verify: (path: string) => Promise<Verified>
}

answerQuestions({
  async verify (path: string): Promise<Verified> {
    const notices = collectNotices()
    const startedAt = performance.now()
    const { verdict, spans, traces }: Report = await verifyStream(eachSpan(readSpanFile(createReadStream(path), { name: path, notices })))
    const seconds = (performance.now() - startedAt) / 1000
    if (verdict !== 'clean' || notices.problems.length > 0) throw new Error(`not clean: ${verdict} ${notices.problems.join(', ')}`)
    return { spans, clean: traces.clean, seconds, maxMegabytes: process.resourceUsage().maxRSS / 1024 }
  }
} satisfies VerifiedSpans)
