import t from 'tap'
import { generateText, isStepCount, jsonSchema, streamText, tool, type TextStreamPart, type ToolSet } from 'ai'
import { createLocalModel } from '../../lib/models/local-model.ts'
import { titleRequest } from '../../lib/models/title-request.ts'

const introduction = 'This is the built-in local model: it follows fixed rules and knows nothing.'

const current_time = tool({
  inputSchema: jsonSchema<{ zone?: string }>({ type: 'object', properties: { zone: { type: 'string' } } }),
  execute: async ({ zone }) => ({ now: '12:00', zone: zone ?? 'UTC' })
})

const research = tool({
  inputSchema: jsonSchema<{ topic: string, pages: number }>({
    type: 'object',
    properties: { topic: { type: 'string' }, pages: { type: 'integer' }, language: { type: 'string' } },
    required: ['topic', 'pages'],
    additionalProperties: true
  }),
  execute: async ({ topic, pages }) => {
    if (topic === 'nothing') throw new Error('There is nothing to find')
    return `${pages} pages about ${topic}`
  }
})

interface Turn {
  readonly text: string
  readonly calls: readonly { readonly toolName: string, readonly input: unknown }[]
  readonly errors: readonly unknown[]
  readonly parts: readonly TextStreamPart<ToolSet>[]
}

/** Sends one message through the tool loop, and gathers what came. */
async function say (prompt: string, tools: ToolSet = { current_time, research }): Promise<Turn> {
  const result = streamText({ model: createLocalModel(), prompt, tools, stopWhen: isStepCount(8), maxRetries: 0, onError () {} })
  const parts = await Array.fromAsync(result.stream)
  return {
    text: parts.map((part) => part.type === 'text-delta' ? part.text : '').join(''),
    calls: parts.flatMap((part) => part.type === 'tool-call' ? [{ toolName: part.toolName, input: part.input }] : []),
    errors: parts.flatMap((part) => part.type === 'error' ? [part.error] : []),
    parts
  }
}

t.test('the local model repeats a message verbatim and says what it is', async (t) => {
  const turn = await say('marker-7f3a  with "quotes",\ntwo lines and 日本語')

  t.equal(turn.text, `You said: "marker-7f3a  with "quotes",\ntwo lines and 日本語". ${introduction}`)
  t.same(turn.calls, [])
})

t.test('the local model streams its text word by word', async (t) => {
  const turn = await say('one two')

  t.same(
    turn.parts.flatMap((part) => part.type === 'text-delta' ? [part.text] : []).slice(0, 4),
    ['You ', 'said: ', '"one ', 'two". ']
  )
})

t.test('the local model gives the same parts and usage for the same conversation', async (t) => {
  const model = createLocalModel({ createCallId: () => 'call' })
  const ask = async () => {
    const result = streamText({ model, prompt: 'research 3 rivers', tools: { research }, stopWhen: isStepCount(8) })
    return { text: await result.text, calls: await result.toolCalls, usage: await result.usage }
  }

  const [first, second] = await Promise.all([ask(), ask()])

  t.same(first, second)
  t.match(first.usage, { inputTokens: 13, outputTokens: 29, totalTokens: 42 })
})

t.test('the local model answers the same without streaming', async (t) => {
  const result = await generateText({
    model: createLocalModel(), prompt: 'research 3 rivers', tools: { research }, stopWhen: isStepCount(8)
  })

  t.equal(result.text, (await say('research 3 rivers')).text)
})

t.test('a tool whose name occurs in the message is called, once', async (t) => {
  const turn = await say('What time is it?')

  t.same(turn.calls, [{ toolName: 'current_time', input: {} }])
  t.equal(turn.text, `You said: "What time is it?". The tool current_time returned: {"now":"12:00","zone":"UTC"}. ${introduction}`)
})

t.test('the first name in the message decides, and other words for it count', async (t) => {
  t.same((await say('research: 2 ways to tell time')).calls, [
    { toolName: 'research', input: { topic: '2 ways to tell time', pages: 2 } }
  ])
  t.same((await say('slow please')).calls, [{ toolName: 'research', input: { topic: 'please', pages: 0 } }])
  t.same((await say('timeouts are not times')).calls, [])
})

t.test('required arguments are filled by their schema', async (t) => {
  const inputSchema = jsonSchema<Record<string, unknown>>({
    type: 'object',
    required: ['text', 'count', 'ratio', 'unit', 'sure', 'list', 'nested', 'either', 'kind', 'pair', 'anything', 'none', 'open'],
    properties: {
      text: { type: ['null', 'string'] },
      count: { type: 'integer' },
      ratio: { type: 'number' },
      unit: { enum: ['km', 'miles'] },
      sure: { type: 'boolean' },
      list: { type: 'array', items: { type: 'string' } },
      nested: { type: 'object', required: ['left'], properties: { left: { type: 'number', minimum: 5 } } },
      either: { anyOf: [{ type: 'integer', minimum: 1 }, { type: 'string' }] },
      kind: { const: 'distance' },
      pair: { type: 'array', items: [{ type: 'string' }, { type: 'number' }] },
      none: { type: 'null' },
      open: true
    }
  })

  const [call] = (await say('convert 26.2 and 0.5 miles', { convert: tool({ inputSchema, execute: async () => 'done' }) })).calls

  const text = '26.2 and 0.5 miles'
  t.same(call?.input, {
    text, count: 26, ratio: 0.5, unit: 'miles', sure: false, list: [text], nested: { left: 5 }, either: 1, kind: 'distance',
    pair: [text], anything: text, none: null, open: text
  })
})

t.test('a command calls its tool with the JSON that was written', async (t) => {
  const turn = await say('/tool research {"topic": "a then /b", "pages": 1}')

  t.same(turn.calls, [{ toolName: 'research', input: { topic: 'a then /b', pages: 1 } }])
  t.match(turn.text, 'The tool research returned: 1 pages about a then /b.')
})

t.test('a command takes names with values, and fills what is required from the other words', async (t) => {
  const turn = await say('/research pages=4 language="plain \\"English\\"" deep=true note="x" old stones')

  t.same(turn.calls, [{
    toolName: 'research',
    input: { topic: 'old stones', pages: 4, language: 'plain "English"', deep: true, note: 'x' }
  }])
})

t.test('commands joined by "then" are carried out one in each step', async (t) => {
  const turn = await say('/tool research {"topic":"bees","pages":1} then /current_time zone=CET then /tool current_time')

  t.same(turn.calls, [
    { toolName: 'research', input: { topic: 'bees', pages: 1 } },
    { toolName: 'current_time', input: { zone: 'CET' } },
    { toolName: 'current_time', input: {} }
  ])
  t.equal(turn.parts.filter((part) => part.type === 'finish-step').length, 4)
  t.match(turn.text, /returned: 1 pages about bees\. .* returned: \{"now":"12:00","zone":"CET"\}\. .*"zone":"UTC"/)
})

t.test('a tool that fails is told in the answer', async (t) => {
  const turn = await say('/research pages=1 topic=nothing')

  t.match(turn.text, 'The tool research failed: Error: There is nothing to find.')
})

t.test('an unknown tool and malformed JSON are called as written, and the loop goes on', async (t) => {
  const turn = await say('/tool missing {"a":1} then /tool research {broken then /current_time')

  t.same(turn.calls, [
    { toolName: 'missing', input: { a: 1 } },
    { toolName: 'research', input: '{broken' },
    { toolName: 'current_time', input: {} }
  ])
  t.match(turn.text, /The tool missing failed: .*The tool research failed: .*The tool current_time returned/s)
})

t.test('a slash that is no command is text', async (t) => {
  t.equal((await say('/shrug and then /fail')).text, `You said: "/shrug and then /fail". ${introduction}`)
  t.equal((await say('/tool')).text, `You said: "/tool". ${introduction}`)
})

t.test('/fail makes the model fail, at once or after a call', async (t) => {
  const atOnce = await say('/fail the pipe broke')
  const later = await say('/current_time then /fail')

  t.match(atOnce.errors, [{ message: 'the pipe broke' }])
  t.equal(later.calls.length, 1)
  t.match(later.errors, [{ message: 'The local model was told to fail' }])
})

t.test('/history tells the messages of this conversation and no other', async (t) => {
  const result = await generateText({
    model: createLocalModel(),
    messages: [
      { role: 'user', content: 'first' },
      { role: 'assistant', content: 'ignored' },
      { role: 'user', content: '/history' }
    ]
  })

  t.equal(result.text, `You have sent 2 messages:\n1. "first"\n2. "/history"\n${introduction}`)
})

t.test('a conversation without a message from the user is answered too', async (t) => {
  const result = await generateText({ model: createLocalModel(), messages: [{ role: 'assistant', content: 'Hello' }] })

  t.equal(result.text, `You said: "". ${introduction}`)
})

t.test('the choice of tools is obeyed', async (t) => {
  const ask = async (prompt: string, toolChoice: 'none' | 'required' | { type: 'tool', toolName: 'research' }) => {
    const result = await generateText({ model: createLocalModel(), prompt, tools: { current_time, research }, toolChoice })
    return result.toolCalls.map((call) => call.toolName)
  }

  t.same(await ask('What time is it?', 'none'), [])
  t.same(await ask('/tool research {}', 'none'), [])
  t.same(await ask('Hello', 'required'), ['current_time'])
  t.same(await ask('Hello', { type: 'tool', toolName: 'research' }), ['research'])
})

t.test('an answer ends at the limit of output tokens', async (t) => {
  const result = await generateText({ model: createLocalModel(), prompt: 'Hello', maxOutputTokens: 2 })

  t.equal(result.text, 'You said: ')
  t.equal(result.finishReason, 'length')
  t.equal(result.usage.outputTokens, 2)
})

t.test('an abort in the middle of a stream gives no further word, whatever the delay', async (t) => {
  for (const delayMs of [0, 1]) {
    const abort = new AbortController()
    const { stream } = await createLocalModel({ delayMs }).doStream({
      prompt: [{ role: 'user', content: [{ type: 'text', text: 'word '.repeat(10_000) }] }], abortSignal: abort.signal
    })
    const reader = stream.getReader()
    const reason = new Error('stopped')

    let words = 0
    while (words < 5) if ((await reader.read()).value?.type === 'text-delta') words++
    const pending = reader.read()
    abort.abort(reason)

    await t.rejects(pending.then(async () => await reader.read()), reason)
  }
})

t.test('an abort during a long delay ends it at once', async (t) => {
  const abort = new AbortController()
  const { stream } = await createLocalModel({ delayMs: 2_000_000 }).doStream({
    prompt: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }], abortSignal: abort.signal
  })
  const parts = Array.fromAsync(stream)
  const reason = new DOMException('The run took too long', 'TimeoutError')

  setImmediate(() => { abort.abort(reason) })

  await t.rejects(parts, reason)
})

t.test('an aborted signal is refused before anything is said', async (t) => {
  const model = createLocalModel()
  const options = { prompt: [], abortSignal: AbortSignal.abort() }

  await t.rejects(Promise.resolve(model.doStream(options)), { name: 'AbortError' })
  await t.rejects(Promise.resolve(model.doGenerate(options)), { name: 'AbortError' })
})

t.test('the event loop turns while a long answer is streamed', async (t) => {
  const result = streamText({ model: createLocalModel(), prompt: 'word '.repeat(2000) })
  let turns = 0
  const count = () => { turns++; timer = setImmediate(count) }
  let timer = setImmediate(count)
  t.teardown(() => { clearImmediate(timer) })

  await result.consumeStream()

  t.ok(turns >= 2000, `${turns} turns`)
})

t.test('asked for a title, the local model answers with the first six words of the first message, and calls no tool', async (t) => {
  const exchange = { message: '/tool  current_time {}\n then tell me all about bees', answer: 'It is noon.' }

  const { stream } = streamText({ model: createLocalModel(), ...titleRequest(exchange), tools: { current_time }, maxRetries: 0 })
  const parts = await Array.fromAsync(stream)

  t.equal(parts.map((part) => part.type === 'text-delta' ? part.text : '').join(''), '/tool current_time {} then tell me')
})
