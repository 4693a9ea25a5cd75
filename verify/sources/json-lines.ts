import { counted } from '../counted.ts'
import type { Span } from '../span.ts'
import type { ByteStream } from './byte-stream.ts'
import { readDocument } from './document.ts'
import { readLines, type Line } from './lines.ts'
import type { Notices } from './notices.ts'
import type { FoundSpans } from './otlp-json.ts'

export interface JsonLinesOptions {
  readonly name: string
  readonly notices: Notices
  readonly isOneOfMany?: boolean
}

const maxLineBytes = 256 * 1024 * 1024

/** What a file held that were no spans. */
interface Remainder {
  /** Lines that hold traces, none of them maybe. */
  traces: number
  broken: number
  firstBroken: string | undefined
  invalid: number
  otherSignals: number
  unknown: number
  errors: Set<string>
}

/** A document a line, as the collector writes it, or one document over many lines. */
export async function * readJsonLines (bytes: ByteStream, options: JsonLinesOptions): AsyncGenerator<readonly Span[], void> {
  const remainder: Remainder = { traces: 0, broken: 0, firstBroken: undefined, invalid: 0, otherSignals: 0, unknown: 0, errors: new Set() }
  try {
    for await (const line of joinDocument(readLines(bytes.pieces(), maxLineBytes))) yield spansOfLine(line, remainder)
  } finally {
    tellRemainder(remainder, options)
  }
}

function spansOfLine ({ number, text }: Line, remainder: Remainder): readonly Span[] {
  const found: FoundSpans = { spans: [], invalid: 0 }
  const json = text?.trim().replace(/^\ufeff/, '')
  if (json === '') return []
  const document = json === undefined ? undefined : parse(json)
  if (document === undefined) {
    remainder.broken += 1
    remainder.firstBroken ??= `line ${number} is ${json === undefined ? `longer than ${maxLineBytes} bytes` : 'no complete JSON'}`
    return []
  }
  const kind = readDocument(document, found)
  remainder.invalid += found.invalid
  switch (kind.kind) {
    case 'traces': remainder.traces += 1; break
    case 'other-signal': remainder.otherSignals += 1; break
    case 'unknown': remainder.unknown += 1; break
    case 'error': if (remainder.errors.size < 3) remainder.errors.add(kind.message)
  }
  return found.spans
}

function tellRemainder ({ traces, broken, firstBroken, invalid, otherSignals, unknown, errors }: Remainder, options: JsonLinesOptions): void {
  const { name, notices, isOneOfMany = false } = options
  if (broken > 0) notices.problem(`Could not read ${counted(broken, 'line')} of ${name}: ${firstBroken}${broken > 1 ? ', and others likewise' : ''}`)
  if (invalid > 0) notices.problem(`Could not read ${counted(invalid, 'span')} of ${name}: without valid ids, or not where they have to be`)
  for (const message of errors) notices.problem(`Could not read all of ${name}: it says "${message}"`)
  if (otherSignals > 0) notices.note(`Skipped logs, metrics or profiles in ${name}`)
  if (unknown === 0) return
  if (traces === 0 && broken === 0 && isOneOfMany) notices.note(`Skipped ${name}: it holds no traces`)
  else notices.problem(`Could not read ${traces === 0 ? '' : `${counted(unknown, 'line')} of `}${name}: JSON, but neither OTLP's nor Jaeger's`)
}

/**
 * One line for a document that goes over many, which its first line tells: it ends in the middle. If that is no document in the end, or
 * longer than a line may be, the lines come one by one.
 */
async function * joinDocument (lines: AsyncGenerator<Line, void>): AsyncGenerator<Line, void> {
  const kept: Line[] = []
  let length = 0
  // By hand: a loop that is left would close the lines.
  for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
    const line = next.value
    if (kept.length === 0 && !/[{[,]\s*$/.test(line.text ?? '')) {
      yield line
      // Blank lines may be before a document.
      if (line.text?.trim() === '') continue
      break
    }
    kept.push(line)
    length += line.text?.length ?? maxLineBytes
    if (length > maxLineBytes) break
  }
  const whole = kept.map(({ text }) => text ?? '').join('\n')
  if (kept.length > 1 && length <= maxLineBytes && parse(whole) !== undefined) yield { number: 1, text: whole }
  else yield * kept
  yield * lines
}

function parse (json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    // What it is instead is told by number, and not shown: it may hold anything.
    return undefined
  }
}
