import { inspect } from 'node:util'
import t from 'tap'
import { generateText } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { createModelRegistry } from '../../lib/models/model-registry.ts'

const keys = {
  openaiApiKey: 'sk-openai-0000', anthropicApiKey: 'sk-ant-0000', googleApiKey: 'google-0000',
  openaiCompatibleBaseUrl: 'http://127.0.0.1:9/v1', openaiCompatibleApiKey: 'compatible-0000'
}

t.test('each provider is reached by its prefix, with its configuration', async (t) => {
  const models = createModelRegistry({ model: 'local', openaiCompatibleName: 'ollama', ...keys })

  const found = ['local', 'openai:gpt-5', 'anthropic:claude', 'google:gemini', 'compatible:qwen3:8b', 'default'].map((reference) => {
    const { provider, modelId } = models.resolve(reference)
    return [provider, modelId]
  })

  t.same(found, [
    ['local', 'local'], ['openai.responses', 'gpt-5'], ['anthropic.messages', 'claude'], ['google.generative-ai', 'gemini'],
    ['ollama.chat', 'qwen3:8b'], ['local', 'local']
  ])
})

t.test('a reference always gives the same model, and "default" the one of the configuration', async (t) => {
  const models = createModelRegistry({ model: 'openai:gpt-5', ...keys })

  t.equal(models.defaultReference, 'openai:gpt-5')
  t.equal(models.resolve('default'), models.resolve('openai:gpt-5'))
  t.not(models.resolve('openai:gpt-5'), models.resolve('openai:gpt-5-mini'))
})

t.test('a provider without its configuration is refused by the name of the variable to set', async (t) => {
  const models = createModelRegistry({ model: 'local', openaiApiKey: '' })

  for (const [reference, variable] of [
    ['openai:gpt-5', 'OPENAI_API_KEY'], ['anthropic:claude', 'ANTHROPIC_API_KEY'], ['google:gemini', 'GOOGLE_API_KEY'],
    ['compatible:qwen3', 'OPENAI_COMPATIBLE_BASE_URL']
  ] as const) {
    t.throws(() => models.resolve(reference), {
      code: 'THREADLINE_INVALID_CONFIGURATION', message: `The model "${reference}" needs ${variable}`, field: variable
    })
    t.equal(models.has(reference), false)
  }
})

t.test('a server with an unknown or unusable default model does not start', async (t) => {
  for (const model of ['gpt-5', 'opnai:gpt-5', ':gpt-5', 'openai:', '', 'default', 'constructor', 'constructor:x', '__proto__']) {
    t.throws(() => createModelRegistry({ model, openaiApiKey: 'sk-openai-0000' }), {
      code: 'THREADLINE_INVALID_CONFIGURATION', field: 'MODEL',
      message: `There is no model "${model}"; MODEL and agents can name: local, openai:<model>`
    }, model)
  }
  t.throws(() => createModelRegistry({ model: 'anthropic:claude' }), { message: /ANTHROPIC_API_KEY/ })
})

t.test('a model can be registered under a name of its own', async (t) => {
  const scripted = new MockLanguageModelV4()
  const models = createModelRegistry({ model: 'scripted', models: { scripted } })

  t.equal(models.resolve('default'), scripted)
  t.ok(models.has('scripted'))
  t.same(models.references, ['default', 'local', 'scripted'])
})

t.test('what can be referred to depends on the configuration', async (t) => {
  const models = createModelRegistry({ model: 'local', ...keys })

  t.same(models.references, ['default', 'local', 'openai:<model>', 'anthropic:<model>', 'google:<model>', 'compatible:<model>'])
})

t.test('no error of the registry or of a model holds a key', async (t) => {
  const models = createModelRegistry({
    model: 'local', ...keys,
    fetch: async () => Response.json({ error: { message: `Incorrect API key provided: ${keys.openaiApiKey}` } }, { status: 401 })
  })

  const answer = generateText({ model: models.resolve('openai:gpt-5'), prompt: 'Hello', maxRetries: 0 })
  const error = await answer.catch((thrown: unknown) => models.toError(thrown))

  t.match(error, { code: 'THREADLINE_MODEL_FAILED', message: 'The model provider refused this server' })
  t.match(error, { cause: { name: 'AI_APICallError', message: 'Incorrect API key provided: [key]' } })
  try {
    models.resolve('unknown')
  } catch (thrown) {
    t.notMatch(inspect(thrown), /0000/)
  }
})

t.test('OpenAI is told not to store conversations', async (t) => {
  const bodies: string[] = []
  const models = createModelRegistry({
    model: 'openai:gpt-5', ...keys,
    fetch: async (_url, options) => {
      bodies.push(typeof options?.body === 'string' ? options.body : '')
      return Response.json({}, { status: 400 })
    }
  })

  await t.rejects(generateText({ model: models.resolve('default'), prompt: 'Hello' }))

  t.match(bodies.map((body) => JSON.parse(body) as unknown), [{ model: 'gpt-5', store: false }])
})
