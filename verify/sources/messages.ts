import { Readable } from 'node:stream'
import { counted } from '../counted.ts'
import type { Span } from '../span.ts'
import { createByteStream, type ByteStream } from './byte-stream.ts'
import { unzstd } from './decompress.ts'
import { readDocument } from './document.ts'
import { isJson, isZstd } from './file-format.ts'
import { reasonOf, type Notices } from './notices.ts'
import type { FoundSpans } from './otlp-json.ts'
import { readOtlpProtobuf } from './otlp-protobuf.ts'

/** After its compression. */
const maxMessageBytes = 256 * 1024 * 1024

export interface NamedNotices {
  readonly name: string
  readonly notices: Notices
}

/**
 * Messages behind their lengths. What comes after a length that is too large, or beyond the end, cannot be found: reading ends there. A
 * message that is damaged is a problem, and the next one is read.
 */
export async function * readMessages (bytes: ByteStream, { name, notices }: NamedNotices, maxBytes: number): AsyncGenerator<readonly Span[], void> {
  for (let number = 1; ; number += 1) {
    const head = await bytes.take(4)
    if (head.length === 0) return
    if (head.length < 4) {
      notices.problem(`Could not read ${name} to its end: message ${number} is cut off`)
      return
    }
    const length = head.readUInt32BE(0)
    if (length > maxBytes) {
      notices.problem(`Could not read ${name} further: message ${number} claims to have ${length} bytes`)
      return
    }
    const message = await bytes.take(length)
    if (message.length < length) {
      notices.problem(`Could not read ${name} to its end: message ${number} is cut off, ${message.length} of ${length} bytes are there`)
      return
    }
    if (length > 0) yield await spansOfMessage(message, `message ${number} of ${name}`, notices)
  }
}

/** JSON or protobuf, compressed by zstd or not. */
export async function spansOfMessage (message: Buffer, name: string, notices: Notices): Promise<readonly Span[]> {
  const found: FoundSpans = { spans: [], invalid: 0 }
  try {
    const content = isZstd(message) ? await decompress(message) : message
    if (isJson(content)) {
      const { kind } = readDocument(JSON.parse(content.toString()), found)
      if (kind !== 'traces') notices.problem(`Could not read ${name}: it holds no traces`)
    } else readOtlpProtobuf(content, found)
  } catch (error) {
    notices.problem(`Could not read ${found.spans.length > 0 ? 'all of ' : ''}${name}: ${reasonOf(error)}`)
  }
  if (found.invalid > 0) notices.problem(`Could not read ${counted(found.invalid, 'span')} of ${name}: without valid ids`)
  return found.spans
}

async function decompress (message: Buffer): Promise<Buffer> {
  const content = await createByteStream(unzstd(Readable.from([message]))).take(maxMessageBytes + 1)
  if (content.length > maxMessageBytes) throw new Error(`it has more than ${maxMessageBytes} bytes`)
  return content
}
