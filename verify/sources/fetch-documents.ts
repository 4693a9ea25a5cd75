import { reasonOf } from './notices.ts'

export interface FetchOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

export interface FetchedDocuments {
  readonly status: number
  /** What the body holds: one JSON document, or one a line. */
  readonly documents: readonly unknown[]
}

/** Of a body: what is longer is not read. */
const maxBodyBytes = 256 * 1024 * 1024

/**
 * Asks by GET. Rejects with a reason that continues "could not read …:" when there is no answer in time, or one that is no JSON, whatever its
 * status and its content type: Jaeger calls its JSON plain text.
 */
export async function fetchDocuments (url: URL, { headers = {}, timeoutMs, signal }: FetchOptions): Promise<FetchedDocuments> {
  const sent = toHeaders({ accept: 'application/json', ...headers })
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    const response = await fetch(url, {
      headers: sent,
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout])
    })
    const documents = parseDocuments(await readBody(response))
    if (documents === undefined) throw new Error(`${response.status} was answered, with ${describe(response)} instead of JSON`)
    return { status: response.status, documents }
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error })
  }
}

/** What is wrong with a header is not shown: it may be a token. */
function toHeaders (headers: Readonly<Record<string, string>>): Headers {
  try {
    return new Headers(headers)
  } catch {
    throw new Error('what should be sent with the request, such as the token, is no header')
  }
}

async function readBody (response: Response): Promise<string> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of response.body ?? []) {
    length += piece.length
    if (length > maxBodyBytes) throw new Error(`the answer is longer than ${maxBodyBytes} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

function parseDocuments (body: string): readonly unknown[] | undefined {
  try {
    return [JSON.parse(body)]
  } catch {
    // Several documents are no document: each is on a line of its own.
  }
  try {
    const lines = body.split('\n').filter((line) => line.trim() !== '')
    return lines.length < 2 ? undefined : lines.map((line): unknown => JSON.parse(line))
  } catch {
    // Neither.
    return undefined
  }
}

function describe ({ headers }: Response): string {
  const type = headers.get('content-type')?.split(';')[0]?.trim()
  return type === undefined || type === '' ? 'something' : type.replace(/[^\w./+-]/g, '').slice(0, 80)
}
