import type { ThreadView } from '../../lib/protocol/events.ts'

/** What a typed line asks for. */
export type ChatInput =
  | { readonly kind: 'nothing' | 'threads' | 'history' | 'again' | 'stop' | 'who' | 'help' | 'quit' }
  | { readonly kind: 'message', readonly content: string }
  | { readonly kind: 'search', readonly query: string }
  | { readonly kind: 'switch' | 'delete', readonly target: string }
  | { readonly kind: 'new', readonly title: string | undefined }
  | { readonly kind: 'rename', readonly title: string }
  /** Without a name: the service's own choice. */
  | { readonly kind: 'agent', readonly name: string | undefined }
  | { readonly kind: 'invalid', readonly message: string }

interface Command {
  readonly usage: string
  readonly about: string
  readonly parse: (rest: string) => ChatInput
}

const commands: Readonly<Record<string, Command>> = {
  threads: { usage: '', about: 'your threads, newest first', parse: () => ({ kind: 'threads' }) },
  switch: { usage: '<number|id>', about: 'go to another thread', parse: needed('switch', (target) => ({ kind: 'switch', target })) },
  new: { usage: '[title]', about: 'make a thread and go there', parse: (title) => ({ kind: 'new', title: title || undefined }) },
  rename: { usage: '<title>', about: 'give this thread a title', parse: needed('rename', (title) => ({ kind: 'rename', title })) },
  delete: { usage: '<number|id|this>', about: 'delete a thread', parse: needed('delete', (target) => ({ kind: 'delete', target })) },
  history: { usage: '', about: 'the last messages of this thread', parse: () => ({ kind: 'history' }) },
  search: { usage: '<words>', about: 'threads and messages with these words', parse: needed('search', (query) => ({ kind: 'search', query })) },
  again: { usage: '', about: 'answer my last message once more', parse: () => ({ kind: 'again' }) },
  stop: { usage: '', about: 'stop what runs in this thread', parse: () => ({ kind: 'stop' }) },
  agent: { usage: '[name]', about: 'who answers your next messages', parse: (name) => ({ kind: 'agent', name: name || undefined }) },
  who: { usage: '', about: 'who and where you are', parse: () => ({ kind: 'who' }) },
  help: { usage: '', about: 'this list', parse: () => ({ kind: 'help' }) },
  quit: { usage: '', about: 'leave; Ctrl-D and Ctrl-C do too', parse: () => ({ kind: 'quit' }) }
}

export const helpLines: readonly string[] = [
  ...Object.entries(commands).map(([name, { usage, about }]) => `${`/${name} ${usage}`.padEnd(28)}${about}`),
  `${'//…'.padEnd(28)}a message that begins with /`,
  'Anything else is a message to the agent.'
]

export function parseInput (line: string): ChatInput {
  const text = line.trim()
  if (text === '') return { kind: 'nothing' }
  if (text.startsWith('//')) return { kind: 'message', content: text.slice(1) }
  if (!text.startsWith('/')) return { kind: 'message', content: text }

  const [, name = '', rest = ''] = /^\/(\S*)\s*(.*)$/s.exec(text) ?? []
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  return command?.parse(rest) ?? { kind: 'invalid', message: `There is no /${name}; /help lists what there is` }
}

function needed (name: string, parse: (rest: string) => ChatInput): (rest: string) => ChatInput {
  return (rest) => rest === '' ? { kind: 'invalid', message: `/${name} ${commands[name]?.usage ?? ''}` } : parse(rest)
}

/** Whether it is the whole id of a thread, and not its end as it is shown. */
export function isThreadId (text: string): boolean {
  return /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(text)
}

export type FoundThread = { readonly threadId: string } | { readonly problem: string }

/** What a person means by `target`: a number of the last list, an id, or the end of one as it is shown. */
export function findThread (target: string, listed: readonly ThreadView[]): FoundThread {
  if (/^\d{1,4}$/.test(target)) {
    const thread = listed[Number(target) - 1]
    return thread === undefined ? { problem: `There is no number ${target} in the last list; /threads shows it anew` } : { threadId: thread.thread_id }
  }
  const id = target.toLowerCase()
  if (isThreadId(id)) return { threadId: id }

  const [match, ...others] = listed.filter(({ thread_id: threadId }) => threadId.endsWith(id))
  if (match === undefined) return { problem: `No thread of the last list ends with ${target}; /threads shows it anew` }
  return others.length === 0 ? { threadId: match.thread_id } : { problem: `Several threads end with ${target}; use the number` }
}
