import { counted } from '../../verify/counted.ts'
import { createPaint, plain } from '../../verify/output/paint.ts'
import type { Outcome, Output } from '../../verify/output/output.ts'
import type { Profile } from '../../verify/profile.ts'
import type { Report } from '../../verify/report.ts'
import { eachSpan } from '../../verify/sources/each-span.ts'
import { reasonOf } from '../../verify/sources/notices.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'
import { verifyStream } from '../../verify/verify-stream.ts'
import { collectNotices, type CollectedNotices } from './collect-notices.ts'
import { createOutput } from './formats.ts'
import { readSources } from './open-sources.ts'
import { readProfileFile } from './profile-file.ts'
import { createReportFile, toStandardOutput, type ReportFile } from './report-file.ts'
import { parseVerifyArguments, type VerifyCommand } from './verify-options.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** 128 and the signal's number, as a shell has it. */
const signals = { SIGINT: 130, SIGTERM: 143 } as const

/** Runs `threadline verify`. Resolves with the exit code: 0 clean, 1 findings, 2 could not check, or a signal's. It never rejects. */
export async function runVerify (args: readonly string[], environment: Environment, terminal: NodeJS.Process): Promise<number> {
  const parsed = parseVerifyArguments(args, environment, Date.now())
  if (parsed.kind === 'help') {
    terminal.stdout.write(parsed.text)
    return 0
  }
  if (parsed.kind === 'invalid') return fail(terminal, `${parsed.message}\nthreadline verify --help tells what can be said.`)

  const interruption = new AbortController()
  const interrupt = (signal: NodeJS.Signals): void => { interruption.abort(signal) }
  for (const signal of Object.keys(signals)) terminal.once(signal, interrupt)
  try {
    return await verifyTo(parsed.command, environment, terminal, interruption.signal)
  } catch (error) {
    const { reason } = interruption.signal
    if (interruption.signal.aborted && isKnownSignal(reason)) return signals[reason]
    return fail(terminal, error instanceof Error ? error.message : String(error))
  } finally {
    for (const signal of Object.keys(signals)) terminal.off(signal, interrupt)
  }
}

function fail (terminal: NodeJS.Process, message: string): number {
  terminal.stderr.write(`${message}\n`)
  return 2
}

function isKnownSignal (reason: unknown): reason is keyof typeof signals {
  return typeof reason === 'string' && Object.hasOwn(signals, reason)
}

async function verifyTo (command: VerifyCommand, environment: Environment, terminal: NodeJS.Process, signal: AbortSignal): Promise<number> {
  const profile = await profileOf(command)
  const file = command.outputPath === undefined ? toStandardOutput(terminal.stdout) : await openFile(command.outputPath)
  try {
    const notices = collectNotices()
    const paint = command.outputPath === undefined ? createPaint(terminal.stdout) : plain
    const output = createOutput(command.format, { ...command, paint })
    const { report, hasHops } = await verifyAll({ command, profile, notices, output, file, signal, terminal, token: environment['THREADLINE_TOKEN'] })
    if (report.traces.checked === 0) notices.problem('No trace was found')
    else if (!hasHops) notices.problem(`No message was found: no span says in ${profile.attributes.hop} that it is a hop of the profile`)
    const outcome = outcomeOf(report, notices)
    await file.write(output.end(outcome))
    await file.finish()
    if (command.format !== 'text' || command.outputPath !== undefined) tellSum(outcome, terminal)
    return outcome.exitCode
  } catch (error) {
    await file.abandon()
    throw error
  }
}

interface Verification {
  readonly command: VerifyCommand
  readonly profile: Profile
  readonly notices: CollectedNotices
  readonly output: Output
  readonly file: ReportFile
  readonly signal: AbortSignal
  readonly terminal: NodeJS.Process
  readonly token: string | undefined
}

interface Verified {
  readonly report: Report
  /** Whether a hop of the profile was in any trace: without one, most rules had nothing to look at. */
  readonly hasHops: boolean
}

async function verifyAll ({ command, profile, notices, output, file, signal, terminal, token }: Verification): Promise<Verified> {
  let hasHops = false
  const pieces = readSources({ command, profile, notices, signal, stdin: terminal.stdin, token })
  const report = await verifyStream(eachSpan(pieces), {
    profile,
    lateMs: command.lateMs,
    openRunMs: command.openRunMs,
    signal,
    onTrace: async (trace) => {
      if (trace.hops.length > 0) hasHops = true
      const text = output.trace(trace)
      if (text !== '') await file.write(text)
    }
  })
  signal.throwIfAborted()
  return { report, hasHops }
}

async function profileOf ({ profilePath, baggageHosts }: VerifyCommand): Promise<Profile> {
  const profile = profilePath === undefined ? threadlineProfile : await readProfileFile(profilePath)
  return { ...profile, baggageHosts: [...profile.baggageHosts, ...baggageHosts] }
}

async function openFile (path: string): Promise<ReportFile> {
  try {
    return await createReportFile(path)
  } catch (error) {
    throw new Error(`${path} could not be written: ${reasonOf(error)}`, { cause: error })
  }
}

function outcomeOf (report: Report, { problems, notes }: CollectedNotices): Outcome {
  const isWhole = problems.length === 0 && report.incomplete.length === 0
  return { report, problems, notes, exitCode: report.findings.length > 0 ? 1 : isWhole ? 0 : 2 }
}

/** For whoever sees the log and not the report. */
function tellSum ({ report: { traces }, problems, exitCode }: Outcome, { stderr }: NodeJS.Process): void {
  const [problem] = problems
  const what = ['clean', 'findings', 'not everything could be checked'][exitCode]
  stderr.write(`${counted(traces.checked, 'trace')}: ${what}${problem === undefined ? '' : `. ${problem}`}\n`)
}
