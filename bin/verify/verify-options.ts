import { parseArgs } from 'node:util'
import type { JaegerApi } from '../../verify/sources/jaeger-query.ts'
import { formats, type Format } from './formats.ts'
import { usage } from './usage.ts'

/** Where spans come from, as the command names it. */
export type NamedSource =
  /** `-` is the standard input. */
  | { readonly kind: 'path', readonly path: string }
  | {
    readonly kind: 'jaeger'
    readonly url: string
    readonly api: JaegerApi
    readonly headers: Readonly<Record<string, string>>
    readonly what: { readonly traceIds: readonly string[] } | JaegerWindow
  }
  | { readonly kind: 'service', readonly url: string, readonly runs: readonly string[], readonly thread: string | undefined }

export interface JaegerWindow {
  readonly service: string
  /** In ms since 1970. */
  readonly startMs: number
  readonly endMs: number
  readonly limit: number
  readonly user: string | undefined
  readonly thread: string | undefined
}

export interface VerifyCommand {
  readonly sources: readonly NamedSource[]
  readonly profilePath: string | undefined
  readonly baggageHosts: readonly string[]
  readonly lateMs: number
  readonly openRunMs: number
  readonly waitMs: number
  readonly timeoutMs: number
  readonly format: Format
  readonly outputPath: string | undefined
  readonly maxFindings: number
  readonly docsUrl: string | undefined
  readonly isVerbose: boolean
}

export type ParsedCommand =
  | { readonly kind: 'verify', readonly command: VerifyCommand }
  | { readonly kind: 'help', readonly text: string }
  | { readonly kind: 'invalid', readonly message: string }

/** What is wrong with the arguments, in a sentence for whoever gave them. */
class Invalid extends Error {}

const options = {
  jaeger: { type: 'string' },
  api: { type: 'string' },
  header: { type: 'string', multiple: true },
  trace: { type: 'string', multiple: true },
  service: { type: 'string' },
  since: { type: 'string' },
  start: { type: 'string' },
  end: { type: 'string' },
  limit: { type: 'string' },
  user: { type: 'string' },
  thread: { type: 'string' },
  url: { type: 'string' },
  run: { type: 'string', multiple: true },
  profile: { type: 'string' },
  'baggage-host': { type: 'string', multiple: true },
  late: { type: 'string', default: '10s' },
  'open-run': { type: 'string', default: '10m' },
  wait: { type: 'string', default: '30s' },
  timeout: { type: 'string', default: '10s' },
  format: { type: 'string', default: 'text' },
  output: { type: 'string', short: 'o' },
  'max-findings': { type: 'string', default: '100' },
  'docs-url': { type: 'string' },
  verbose: { type: 'boolean', short: 'v', default: false },
  help: { type: 'boolean', short: 'h', default: false }
} as const

type Values = ReturnType<typeof parse>['values']

function parse (args: readonly string[]) {
  return parseArgs({ args: [...args], options, allowPositionals: true })
}

/** `nowMs` is what `--since` counts from. */
export function parseVerifyArguments (
  args: readonly string[], environment: Readonly<Record<string, string | undefined>>, nowMs: number
): ParsedCommand {
  try {
    const { values, positionals } = parse(args)
    if (values.help) return { kind: 'help', text: usage }
    return { kind: 'verify', command: toCommand(values, positionals, environment, nowMs) }
  } catch (error) {
    return { kind: 'invalid', message: error instanceof Error ? error.message : String(error) }
  }
}

function toCommand (
  values: Values, paths: readonly string[], environment: Readonly<Record<string, string | undefined>>, nowMs: number
): VerifyCommand {
  const sources: NamedSource[] = paths.map((path) => ({ kind: 'path', path }))
  if (values.jaeger !== undefined) sources.push(toJaeger(values.jaeger, values, nowMs))
  if (values.url !== undefined) sources.push(toService(values.url, values))
  if (sources.length === 0) throw new Invalid('Say where the traces are: a file, a directory, -, --jaeger <url> or --url <url>')
  refuseOrphans(values)
  const { format } = values
  if (!isFormat(format)) throw new Invalid(`--format takes ${formats.join(', ')}, and not ${format}`)
  const listed = environment['BAGGAGE_HOSTS']?.split(',') ?? []
  return {
    sources,
    profilePath: values.profile,
    baggageHosts: [...listed, ...values['baggage-host'] ?? []].map((host) => host.trim()).filter((host) => host !== ''),
    lateMs: toDuration('--late', values.late),
    openRunMs: toDuration('--open-run', values['open-run']),
    waitMs: toDuration('--wait', values.wait),
    timeoutMs: toDuration('--timeout', values.timeout),
    format,
    outputPath: values.output,
    maxFindings: toCount('--max-findings', values['max-findings'], 0),
    docsUrl: values['docs-url'] === undefined ? undefined : withSlash(toUrl('--docs-url', values['docs-url'])),
    isVerbose: values.verbose
  }
}

/** An option that nothing would look at would be believed to have worked. */
function refuseOrphans (values: Values): void {
  const { jaeger, url, trace } = values
  const ofJaeger = ['api', 'header', 'trace', 'service', 'since', 'start', 'end', 'limit', 'user'] as const
  const ofSearch = ['service', 'since', 'start', 'end', 'limit', 'user', 'thread'] as const
  const lonely = jaeger === undefined ? ofJaeger.find((name) => values[name] !== undefined) : undefined
  if (lonely !== undefined) throw new Invalid(`--${lonely} needs --jaeger <url>`)
  if (values.run !== undefined && url === undefined) throw new Invalid('--run needs --url <url>')
  if (values.thread !== undefined && url === undefined && jaeger === undefined) throw new Invalid('--thread needs --jaeger <url> or --url <url>')
  const useless = trace === undefined ? undefined : ofSearch.find((name) => values[name] !== undefined && !(name === 'thread' && url !== undefined))
  if (useless !== undefined) throw new Invalid(`--trace names traces, and --${useless} looks for them: give one of them`)
}

function toJaeger (url: string, values: Values, nowMs: number): NamedSource {
  const { api = 'v3', trace } = values
  if (api !== 'v1' && api !== 'v3') throw new Invalid(`--api takes v1 or v3, and not ${api}`)
  const what = trace === undefined ? toWindow(values, nowMs) : { traceIds: trace.map(toTraceId) }
  return { kind: 'jaeger', url: toUrl('--jaeger', url), api, headers: toHeaders(values.header ?? []), what }
}

function toWindow ({ service = 'threadline', since, start, end, limit = '200', user, thread }: Values, nowMs: number): JaegerWindow {
  if (since !== undefined && start !== undefined) throw new Invalid('--since and --start both say when to begin: give one of them')
  const endMs = end === undefined ? nowMs : toTime('--end', end)
  const startMs = start === undefined ? endMs - toDuration('--since', since ?? '1h') : toTime('--start', start)
  if (startMs >= endMs) throw new Invalid('--end must be after --start')
  return { service, startMs, endMs, limit: toCount('--limit', limit, 1), user, thread }
}

function toService (url: string, { run, thread }: Values): NamedSource {
  if (run === undefined && thread === undefined) throw new Invalid('--url needs --run <id> or --thread <id>')
  return { kind: 'service', url: toUrl('--url', url), runs: run ?? [], thread }
}

function isFormat (text: string): text is Format {
  return formats.some((format) => format === text)
}

function toUrl (name: string, text: string): string {
  const url = URL.parse(text)
  if (url === null || !['http:', 'https:'].includes(url.protocol)) throw new Invalid(`${name} takes an address like http://localhost:16686, and not ${text}`)
  if (url.username !== '' || url.password !== '') throw new Invalid(`${name} takes no name and password in its address: they would be in every report`)
  return text
}

function withSlash (url: string): string {
  return url.endsWith('/') ? url : `${url}/`
}

function toTraceId (text: string): string {
  if (!/^[0-9a-f]{1,32}$/i.test(text)) throw new Invalid(`--trace takes 32 hexadecimal digits, and not ${text}`)
  return text.toLowerCase().padStart(32, '0')
}

function toHeaders (list: readonly string[]): Readonly<Record<string, string>> {
  const headers = new Headers()
  for (const header of list) {
    const colon = header.indexOf(':')
    try {
      headers.append(header.slice(0, Math.max(0, colon)).trim(), header.slice(colon + 1).trim())
    } catch {
      // It may be a secret that is badly quoted.
      throw new Invalid('--header takes "name: value"')
    }
  }
  return Object.fromEntries(headers)
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

function toDuration (name: string, text: string): number {
  const [, digits, unit = ''] = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? []
  if (digits === undefined) throw new Invalid(`${name} takes a time like 30s, 15m, 2h or 1d, and not ${text}`)
  return Number(digits) * (unitsMs[unit] ?? 1)
}

function toTime (name: string, text: string): number {
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new Invalid(`${name} takes a time like 2026-01-31T12:00:00Z, and not ${text}`)
  return time
}

function toCount (name: string, text: string, least: number): number {
  const count = Number(text)
  if (!/^\d{1,9}$/.test(text) || count < least) throw new Invalid(`${name} takes a whole number from ${least}, and not ${text}`)
  return count
}
