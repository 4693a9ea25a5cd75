/** What a source has to say beside its spans, a sentence each. */
export interface Notices {
  /** Something could not be read: whatever else is found, not everything was seen. */
  problem (sentence: string): void
  /** Worth knowing, and nothing is missing. */
  note (sentence: string): void
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'reading it is not allowed',
  EPERM: 'reading it is not allowed',
  ENOTDIR: 'a part of its path is no directory',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  ENOTFOUND: 'the host is not known',
  EAI_AGAIN: 'the host is not known',
  Z_BUF_ERROR: 'its compressed data is cut off',
  Z_DATA_ERROR: 'its compressed data is damaged'
}

/** Why something failed, in words that continue "could not read …:". */
export function reasonOf (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return 'there was no answer in time'
  if (error.name === 'AbortError') return 'it was interrupted'
  const code = 'code' in error ? error.code : undefined
  if (typeof code === 'string' && reasons[code] !== undefined) return reasons[code]
  // fetch tells the reason in the cause, and of several addresses in an AggregateError.
  if (error.cause instanceof Error) return reasonOf(error.cause)
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return error.message || error.name
}
