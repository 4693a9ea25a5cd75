import type { Span } from '../span.ts'
import { createByteStream, type ByteStream } from './byte-stream.ts'
import { gunzip, unzstd } from './decompress.ts'
import { formatOf, headBytes } from './file-format.ts'
import { readJsonLines } from './json-lines.ts'
import { readMessages, spansOfMessage } from './messages.ts'
import { reasonOf, type Notices } from './notices.ts'

export interface SpanFileOptions {
  /** How it is called in notices. */
  readonly name: string
  readonly notices: Notices
  /** For one of many: what holds no traces is named as skipped, and is no problem. */
  readonly isOneOfMany?: boolean
}

/** The largest message that is read, before and after its compression. */
const maxMessageBytes = 256 * 1024 * 1024

/**
 * The spans of a file, in pieces, whatever of these it is: OTLP's JSON as one document or one a line, OTLP's protobuf as one message or each
 * behind its length (4 bytes, big-endian), Jaeger's JSON; and each of them compressed by gzip or zstd, as a whole or message by message.
 * These are the ways in which the collector's `file` exporter writes. Nothing is held but one line or message. It never throws: what could
 * not be read is a notice.
 */
export async function * readSpanFile (content: AsyncIterable<Uint8Array>, options: SpanFileOptions): AsyncGenerator<readonly Span[], void> {
  const { name, notices } = options
  try {
    yield * readContent(createByteStream(content), options, 0)
  } catch (error) {
    notices.problem(`Could not read ${name}: ${reasonOf(error)}`)
  }
}

async function * readContent (bytes: ByteStream, options: SpanFileOptions, depth: number): AsyncGenerator<readonly Span[], void> {
  const { name, notices, isOneOfMany = false } = options
  const format = formatOf(await bytes.peek(headBytes))
  switch (format) {
    case 'gzip': case 'zstd':
      if (depth > 0) notices.problem(`Could not read ${name}: it is compressed twice`)
      else yield * readContent(createByteStream(format === 'gzip' ? gunzip(bytes.pieces()) : unzstd(bytes.pieces())), options, depth + 1)
      break
    case 'json': yield * readJsonLines(bytes, options); break
    case 'messages': yield * readMessages(bytes, options, maxMessageBytes); break
    case 'message': yield * readOneMessage(bytes, options); break
    case 'empty': notices.note(`${name} is empty`); break
    case 'unknown':
      if (isOneOfMany) notices.note(`Skipped ${name}: it is no trace file`)
      else notices.problem(`Could not read ${name}: neither JSON nor protobuf of OTLP, nor compressed`)
  }
}

async function * readOneMessage (bytes: ByteStream, { name, notices }: SpanFileOptions): AsyncGenerator<readonly Span[], void> {
  const message = await bytes.take(maxMessageBytes + 1)
  if (message.length > maxMessageBytes) notices.problem(`Could not read ${name}: a message of more than ${maxMessageBytes} bytes`)
  else yield await spansOfMessage(message, name, notices)
}
