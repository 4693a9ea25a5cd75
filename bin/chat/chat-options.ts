import { parseArgs } from 'node:util'
import { isThreadId } from './parse-input.ts'

export interface ChatOptions {
  readonly url: string
  readonly user: string | undefined
  readonly token: string | undefined
  readonly thread: string | undefined
  readonly agent: string | undefined
  /** Sends all of the standard input as one message and ends with its run. */
  readonly once: boolean
  /** For everything, where nobody sits in front of it. */
  readonly timeoutMs: number
}

export type ParsedArguments =
  | { readonly kind: 'chat', readonly options: ChatOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'invalid', readonly message: string }

export const usage = `Chats with a running Threadline service from the terminal.

  npm run chat -- --user alice
  echo "hello" | npm run chat -- --user alice --once

  --user <name>        whom to be, with a development token of the service
  --token <jwt>        a token of your own instead; also read from THREADLINE_TOKEN
  --url <address>      the service; http://127.0.0.1:3000 by default
  --thread <id>        the thread to start in; /who tells the whole id
  --agent <name>       the agent that answers
  --once               send all of the standard input as one message; exit 0 when its run completed
  --timeout <seconds>  give up after this long when the input is not a terminal; 120 by default
  --help
`

export function parseArguments (args: readonly string[], environment: Readonly<Record<string, string | undefined>>): ParsedArguments {
  let values
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        user: { type: 'string' },
        token: { type: 'string' },
        url: { type: 'string', default: 'http://127.0.0.1:3000' },
        thread: { type: 'string' },
        agent: { type: 'string' },
        once: { type: 'boolean', default: false },
        timeout: { type: 'string', default: '120' },
        help: { type: 'boolean', short: 'h', default: false }
      }
    }))
  } catch (error) {
    return { kind: 'invalid', message: error instanceof Error ? error.message : String(error) }
  }
  if (values.help) return { kind: 'help' }

  const { user, url, thread, agent, once } = values
  const token = values.token ?? environment['THREADLINE_TOKEN']
  const timeoutMs = Number(values.timeout) * 1000
  if (user === undefined && token === undefined) return { kind: 'invalid', message: 'Say who you are: --user <name>, or --token <jwt>' }
  if (!isServiceUrl(url)) return { kind: 'invalid', message: `Not the address of a service: ${url}` }
  if (thread !== undefined && !isThreadId(thread)) return { kind: 'invalid', message: `Not the whole id of a thread: ${thread}. In that thread, /who tells it` }
  if (!(timeoutMs > 0) || timeoutMs > 2 ** 31 - 1) return { kind: 'invalid', message: '--timeout takes a number of seconds' }
  return { kind: 'chat', options: { url, user, token, thread, agent, once, timeoutMs } }
}

function isServiceUrl (text: string): boolean {
  return URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol)
}
