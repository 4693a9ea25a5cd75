import { ThreadlineClientError } from '../../client/client-error.ts'

const timeoutMs = 10_000

/**
 * Asks a service in development mode for a token. Rejects with `CLIENT_TOKEN_FAILED` and a sentence that says what to do;
 * retryable where the service may only be starting.
 */
export async function fetchDevelopmentToken (url: string, user: string, signal?: AbortSignal): Promise<string> {
  const limit = AbortSignal.timeout(timeoutMs)
  let response: Response
  try {
    response = await fetch(new URL('v1/dev/tokens', url.endsWith('/') ? url : `${url}/`), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user_id: user }),
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit])
    })
  } catch (error) {
    throw failure(`There is no service at ${url}. Start it with "npm start", or name another with --url.`, true, error)
  }
  const body: unknown = await response.json().catch(() => undefined) // what is not JSON has no token either
  if (response.ok && has(body, 'token') && typeof body.token === 'string') return body.token
  if (response.status === 404) {
    throw failure(`The service at ${url} gives no development tokens: it checks tokens of its own issuer. Pass one with --token.`, false)
  }
  throw failure(`The service at ${url} gave no token for "${user}": ${reasonIn(body) ?? `HTTP status ${response.status}`}`, response.status >= 500)
}

function failure (message: string, retryable: boolean, cause?: unknown): ThreadlineClientError {
  return new ThreadlineClientError('CLIENT_TOKEN_FAILED', { message, retryable, cause })
}

function reasonIn (body: unknown): string | undefined {
  if (!has(body, 'error') || !has(body.error, 'message')) return undefined
  return typeof body.error.message === 'string' ? body.error.message : undefined
}

function has<Key extends string> (value: unknown, key: Key): value is Record<Key, unknown> {
  return typeof value === 'object' && value !== null && key in value
}
