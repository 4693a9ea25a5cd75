import type { ServerResponse } from 'node:http'
import { markersIn } from './history.ts'

/** Where somebody is held: while a model answers the first time, or the second, after half of its words; or in a tool. */
export type Place = 'model' | 'answer' | 'tool'

/** As far as it decides the answer. */
export interface ModelRequest {
  readonly messages: readonly { readonly role: string, readonly content?: unknown }[]
}

/** In a message: the model shall use its tool. */
export const asksForTool = 'write it down'

/**
 * Streams a chat completion. A message that asks for the tool is answered by a call of it, and then by words, others by words alone. Half of the
 * words come before `pass`, so that a fault meets an answer that was told in part.
 * Source: https://platform.openai.com/docs/api-reference/chat-streaming
 */
export async function answerAsModel (
  response: ServerResponse, { messages }: ModelRequest, pass: (marker: string, place: Place) => Promise<void>
): Promise<void> {
  const last = messages.findLastIndex(({ role }) => role === 'user')
  const question = JSON.stringify(messages[last]?.content ?? '')
  const [marker = ''] = markersIn(question)
  const hasResult = messages.slice(last).some(({ role }) => role === 'tool')
  const write = (choice: object): void => { response.write(`data: ${JSON.stringify({ ...chunk, choices: [{ index: 0, ...choice }] })}\n\n`) }
  const say = (content: string): void => { write({ delta: { content }, finish_reason: null }) }

  response.writeHead(200, { 'content-type': 'text/event-stream' })
  write({ delta: { role: 'assistant', content: '' }, finish_reason: null })
  say(hasResult ? 'It is written down, ' : 'Let me see: ')
  await pass(marker, hasResult ? 'answer' : 'model')
  const callsTool = question.includes(asksForTool) && !hasResult
  if (callsTool) {
    const call = { name: 'record', arguments: JSON.stringify({ marker }) }
    write({ delta: { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: call }] }, finish_reason: null })
  } else for (const word of ['you ', 'said ', marker]) say(word)
  write({ delta: {}, finish_reason: callsTool ? 'tool_calls' : 'stop' })
  response.write(`data: ${JSON.stringify({ ...chunk, choices: [], usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 } })}\n\n`)
  response.end('data: [DONE]\n\n')
}

const chunk = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'outside' }
