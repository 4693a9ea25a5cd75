export type FileFormat = 'empty' | 'gzip' | 'zstd' | 'json' | 'messages' | 'message' | 'unknown'

/** What is looked at of a file's beginning. */
export const headBytes = 64

const gzip = Buffer.from([0x1f, 0x8b])
const zstd = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
const byteOrderMark = '\u00ef\u00bb\u00bf'

/** By content, as names say nothing reliable: the collector gives the same name to every format. */
export function formatOf (head: Buffer): FileFormat {
  if (head.length === 0) return 'empty'
  if (startsWith(head, gzip)) return 'gzip'
  if (isZstd(head)) return 'zstd'
  if (isJson(head)) return 'json'
  if (isMessage(head)) return 'message'
  return isMessages(head) ? 'messages' : 'unknown'
}

export function isZstd (head: Buffer): boolean {
  return startsWith(head, zstd)
}

/** An object, or a list of whatever. White space may be before it, and the first field of a message looks like a line break. */
export function isJson (head: Buffer): boolean {
  const text = head.toString('latin1')
  return /^\s*(?:\{\s*(?:["}]|$)|\[)/.test(text.startsWith(byteOrderMark) ? text.slice(3) : text)
}

/** A first field of the kind of `resourceSpans`: a message, which begins with a field of a `ResourceSpans` or is empty. */
function isMessage (head: Buffer): boolean {
  if (head[0] !== 0x0a) return false
  let place = 1
  while ((head[place] ?? 0) > 0x7f && place < 5) place += 1
  const isEmpty = head[place] === 0
  const first = head[place + 1]
  return isEmpty || first === 0x0a || first === 0x12 || first === 0x1a
}

/** A length of less than 2³⁰, and a message behind it that is one of the known ones. */
function isMessages (head: Buffer): boolean {
  if (head.length < 4 || (head[0] ?? 0) > 0x3f) return false
  const message = head.subarray(4)
  return message.length === 0 || isZstd(message) || isJson(message) || isMessage(message) || head.readUInt32BE(0) === 0
}

function startsWith (head: Buffer, beginning: Buffer): boolean {
  return head.subarray(0, beginning.length).equals(beginning)
}
