import { logs, SeverityNumber, type Attributes, type Logger, type LogRecord } from '@opentelemetry/api'
import { attributes } from '../context/attributes.ts'

/** What pino writes; the rest are the fields of the call and of the `mixin`. */
interface Line {
  readonly level: number
  /** In ms since 1970. */
  readonly time: number
  readonly msg?: string
  readonly [field: string]: unknown
}

/** As the semantic conventions call what our lines have under the protocol's names. The trace is the record's own. */
const conventional: Readonly<Record<string, string>> = {
  user_id: attributes.userId,
  thread_id: attributes.threadId,
  run_id: attributes.runId,
  request_id: attributes.requestId
}
const notAttributes: readonly string[] = ['level', 'time', 'msg', 'pid', 'hostname', 'trace_id', 'span_id', 'err']

/**
 * Gives a finished line of the log to the logs SDK, if `OTEL_LOGS_EXPORTER` has one started, with the trace and the span that are active. It
 * must be the line that is written, which holds no secret any more: what is not on standard output does not go out here either. It never throws.
 */
export function exportLine (line: string): void {
  try {
    const logger = logs.getLogger('threadline')
    if (logger.enabled()) emit(logger, line)
  } catch {
    // No line must make the call fail that has logged it, and what the SDK has to say of it would be a line again.
  }
}

function emit (logger: Logger, line: string): void {
  const parsed = parse(line)
  logger.emit(parsed === undefined ? { body: line } : recordOf(parsed))
}

function parse (line: string): Line | undefined {
  try {
    return JSON.parse(line) as Line // pino's own format
  } catch {
    return undefined // of somebody else, who writes where we do
  }
}

function recordOf (line: Line): LogRecord {
  return {
    timestamp: new Date(line.time),
    severityNumber: severityOf(line.level),
    body: line.msg ?? '',
    attributes: { ...attributesOf(line), ...exceptionOf(line['err']) }
  }
}

/** Pino counts its levels in tens from trace, 10; OpenTelemetry in fours from TRACE, 1. */
function severityOf (level: number): SeverityNumber {
  return Math.min(Math.max((Math.floor(level / 10) - 1) * 4 + 1, SeverityNumber.TRACE), SeverityNumber.FATAL)
}

function attributesOf (line: Line): Attributes {
  const fields = Object.entries(line).filter(([name]) => !notAttributes.includes(name))
  return Object.fromEntries(fields.map(([name, value]) => [conventional[name] ?? name, value]))
}

/** An error as pino's serializer writes it, as the conventions for exceptions name it. */
function exceptionOf (err: unknown): Attributes {
  if (typeof err !== 'object' || err === null) return {}
  const { type, message, stack } = err as Readonly<Record<string, unknown>> // any of them may be missing
  const named = { 'exception.type': type, 'exception.message': message, 'exception.stacktrace': stack }
  return Object.fromEntries(Object.entries(named).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}
