import type {
  LanguageModelV4CallOptions, LanguageModelV4FunctionTool, LanguageModelV4Prompt, LanguageModelV4ToolResultPart
} from '@ai-sdk/provider'
import { titleInstructions } from './title-request.ts'
import { inputFromPairs, inputFromText, type InputSchema } from './tool-input.ts'

/** What the local model does next: one tool call, an answer, or a failure. */
export type Decision =
  | { readonly kind: 'call', readonly toolName: string, readonly input: string }
  | { readonly kind: 'answer', readonly text: string }
  | { readonly kind: 'fail', readonly message: string }

type Tool = LanguageModelV4FunctionTool
type Call = Extract<Decision, { kind: 'call' }>

const introduction = 'This is the built-in local model: it follows fixed rules and knows nothing.'

/** Words that say nothing about what a tool does, though they are often in its name. */
const weakWords = new Set(['get', 'set', 'the', 'and', 'for', 'run', 'current', 'tool'])

/** Words that people use for what these tools do. */
const otherWords: Readonly<Record<string, readonly string[]>> = {
  clock: ['time', 'date'],
  time: ['clock', 'date'],
  research: ['slow', 'investigate'],
  calculator: ['calculate'],
  calculate: ['calculator']
}

/**
 * The rules of the local model, told in `docs/local-model.md`. They read the last user message, the calls made since, their
 * results and the tools offered, and nothing else, so that the same conversation always goes the same way:
 *
 * 0. asked for a title, it answers with the first words of the first message;
 * 1. commands (`/tool`, `/<tool>`, `/fail`, `/history`, joined by `then`): one is carried out in each step;
 * 2. without commands, the tool whose name occurs first in the message is called, once;
 * 3. then the answer repeats the message verbatim and tells each result.
 */
export function decide ({ prompt, tools, toolChoice }: LanguageModelV4CallOptions): Decision {
  if (prompt.some(({ role, content }) => role === 'system' && content === titleInstructions)) return { kind: 'answer', text: firstWords(prompt) }
  const offered = (tools ?? []).filter((tool) => tool.type === 'function')
  const turn = readTurn(prompt)
  const commands = readCommands(turn.text, offered)

  const next = commands === undefined ? naturalCall(turn, offered) : commands[turn.calls]?.(prompt)
  if (next?.kind === 'call' && toolChoice?.type === 'none') return answer(turn)
  if (next !== undefined) return next
  return forcedCall(turn, offered, toolChoice) ?? answer(turn)
}

interface Turn {
  /** The last user message. */
  readonly text: string
  /** How many calls were made since. */
  readonly calls: number
  readonly results: readonly LanguageModelV4ToolResultPart[]
}

function readTurn (prompt: LanguageModelV4Prompt): Turn {
  const start = prompt.findLastIndex((message) => message.role === 'user')
  const since = prompt.slice(start + 1)
  const said = since.flatMap((message) => message.role === 'assistant' ? message.content : [])
  const returned = since.flatMap((message) => message.role === 'tool' ? message.content : [])
  return {
    text: userTexts(prompt).at(-1) ?? '',
    calls: said.filter((part) => part.type === 'tool-call').length,
    results: returned.filter((part) => part.type === 'tool-result')
  }
}

function firstWords (prompt: LanguageModelV4Prompt): string {
  return (userTexts(prompt)[0] ?? '').match(/\S+/g)?.slice(0, titleWords).join(' ') ?? ''
}

function userTexts (prompt: LanguageModelV4Prompt): string[] {
  return prompt.filter((message) => message.role === 'user').map((message) => {
    return message.content.filter((part) => part.type === 'text').map((part) => part.text).join('\n')
  })
}

/** A longer message is only repeated: reading it takes time that grows with its square. */
const maxReadCharacters = 4_000

const titleWords = 6

type Command = (prompt: LanguageModelV4Prompt) => Decision

/** The commands of a message, or undefined where it is not made of commands alone. */
function readCommands (text: string, tools: readonly Tool[]): readonly Command[] | undefined {
  if (text.length > maxReadCharacters || !text.trimStart().startsWith('/')) return undefined
  const commands = splitCommands(text).map((source) => readCommand(source, tools))
  return commands.every((command) => command !== undefined) ? commands : undefined
}

/** Parts at each `then /` that is not between double quotes. */
function splitCommands (text: string): string[] {
  const parts: string[] = []
  let start = 0
  for (const match of text.matchAll(/"(?:[^"\\]|\\.)*"|\sthen\s+(?=\/)/gs)) {
    if (match[0].startsWith('"')) continue
    parts.push(text.slice(start, match.index))
    start = match.index + match[0].length
  }
  return [...parts, text.slice(start)].map((part) => part.trim())
}

function readCommand (source: string, tools: readonly Tool[]): Command | undefined {
  const [name, rest] = splitName(source.slice(1))
  const own = tools.find((tool) => tool.name === name)
  if (own !== undefined) return () => call(own.name, writtenInput(own.inputSchema, rest))
  switch (name) {
    case 'tool': return readToolCommand(rest, tools)
    case 'fail': return () => ({ kind: 'fail', message: rest === '' ? 'The local model was told to fail' : rest })
    case 'history': return (prompt) => ({ kind: 'answer', text: tellHistory(prompt) })
    default: return undefined
  }
}

/** A tool that is not offered is called as well: a model does that, and the way of such a call has to be tried. */
function readToolCommand (source: string, tools: readonly Tool[]): Command | undefined {
  const [toolName, rest] = splitName(source)
  const schema: InputSchema | undefined = tools.find((tool) => tool.name === toolName)?.inputSchema
  return toolName === '' ? undefined : () => call(toolName, writtenInput(schema, rest))
}

function splitName (source: string): [name: string, rest: string] {
  const name = /^[\p{L}\p{N}_.-]*/u.exec(source)?.[0] ?? ''
  return [name, source.slice(name.length).trim()]
}

/** JSON goes to the tool as it was written, malformed JSON too: how that is dealt with has to be tried. */
function writtenInput (schema: InputSchema | undefined, source: string): string {
  return source.startsWith('{') ? source : JSON.stringify(inputFromPairs(schema, source))
}

function naturalCall (turn: Turn, tools: readonly Tool[]): Call | undefined {
  if (turn.calls > 0 || turn.text.length > maxReadCharacters) return undefined
  for (const match of turn.text.matchAll(/[\p{L}\p{N}]+/gu)) {
    const tool = tools.find((candidate) => wordsOf(candidate.name).has(match[0].toLowerCase()))
    if (tool === undefined) continue
    const rest = turn.text.slice(match.index + match[0].length).replace(/^[\s:,;.?!-]+/, '')
    return call(tool.name, JSON.stringify(inputFromText(tool.inputSchema, rest === '' ? turn.text : rest)))
  }
  return undefined
}

function wordsOf (toolName: string): ReadonlySet<string> {
  const words = toolName.replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2').toLowerCase().split(/[^\p{L}\p{N}]+/u)
  const strong = words.filter((word) => word.length > 2 && !weakWords.has(word))
  return new Set(strong.flatMap((word) => [word, ...otherWords[word] ?? []]))
}

function forcedCall (turn: Turn, tools: readonly Tool[], choice: LanguageModelV4CallOptions['toolChoice']): Call | undefined {
  if (choice?.type !== 'required' && choice?.type !== 'tool') return undefined
  const tool = choice.type === 'tool' ? tools.find(({ name }) => name === choice.toolName) : tools[0]
  return tool && call(tool.name, JSON.stringify(inputFromText(tool.inputSchema, turn.text)))
}

function call (toolName: string, input: string): Call {
  return { kind: 'call', toolName, input }
}

function answer ({ text, results }: Turn): Decision {
  return { kind: 'answer', text: [`You said: "${text}".`, ...results.map(tellResult), introduction].join(' ') }
}

function tellResult ({ toolName, output }: LanguageModelV4ToolResultPart): string {
  switch (output.type) {
    case 'text': return `The tool ${toolName} returned: ${output.value}.`
    case 'json': return `The tool ${toolName} returned: ${JSON.stringify(output.value)}.`
    case 'content': return `The tool ${toolName} returned: ${output.value.map((part) => part.type === 'text' ? part.text : part.type).join(' ')}.`
    case 'error-text': return `The tool ${toolName} failed: ${output.value}.`
    case 'error-json': return `The tool ${toolName} failed: ${JSON.stringify(output.value)}.`
    case 'execution-denied': return `The tool ${toolName} was denied: ${output.reason ?? 'no reason given'}.`
  }
}

function tellHistory (prompt: LanguageModelV4Prompt): string {
  const texts = userTexts(prompt)
  return [`You have sent ${texts.length} messages:`, ...texts.map((text, index) => `${index + 1}. "${text}"`), introduction].join('\n')
}
