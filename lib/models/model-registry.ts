import { createAnthropic } from '@ai-sdk/anthropic'
import { createGoogle } from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import type { LanguageModelV4 } from '@ai-sdk/provider'
import { defaultSettingsMiddleware, wrapLanguageModel } from 'ai'
import { ThreadlineError } from '../errors.ts'
import { createLocalModel } from './local-model.ts'
import { toModelError } from './model-error.ts'

/** A model behind the AI SDK's provider interface. Never a name: the SDK would send it to a gateway of its vendor. */
export type LanguageModel = LanguageModelV4

export interface ModelSettings {
  /** What the reference `default` stands for. */
  readonly model: string
  readonly openaiCompatibleBaseUrl?: string | undefined
  /** The provider's name on spans. */
  readonly openaiCompatibleName?: string | undefined
  readonly openaiCompatibleApiKey?: string | undefined
  readonly openaiApiKey?: string | undefined
  readonly anthropicApiKey?: string | undefined
  readonly googleApiKey?: string | undefined
  /** Models under names of their own, before all others. */
  readonly models?: Readonly<Record<string, LanguageModel>> | undefined
  /** Used instead of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/**
 * The models that agents can name: `local`, `openai:<model>`, `anthropic:<model>`, `google:<model>`, `compatible:<model>` (any
 * endpoint that speaks OpenAI's chat completions), `default`, and those registered under names of their own.
 */
export interface ModelRegistry {
  readonly defaultReference: string
  /** What can be referred to with this configuration. */
  readonly references: readonly string[]
  has (reference: string): boolean
  /**
   * The same model each time. Opens no connection. Throws `THREADLINE_INVALID_CONFIGURATION`, which names the variable to set,
   * for an unknown model or a provider that is not configured.
   */
  resolve (reference: string): LanguageModel
  /** What a model threw, as an error for the client and the log without any of the configured keys; see `toModelError`. */
  toError (error: unknown): ThreadlineError
}

interface Provider {
  /** The variable without which there is no such provider, and its value. */
  readonly variable: string
  readonly value: string | undefined
  connect (value: string): (modelId: string) => LanguageModel
}

/** Throws `THREADLINE_INVALID_CONFIGURATION` if the default model cannot be resolved, so that a server without it does not start. */
export function createModelRegistry (settings: ModelSettings): ModelRegistry {
  const providers = new Map(Object.entries(providersOf(settings)))
  const models = new Map<string, LanguageModel>(Object.entries({ local: createLocalModel(), ...settings.models }))
  const references = [
    ...models.keys(),
    ...[...providers].filter(([, { value }]) => isSet(value)).map(([name]) => `${name}:<model>`)
  ]
  const secrets = [settings.openaiCompatibleApiKey, settings.openaiApiKey, settings.anthropicApiKey, settings.googleApiKey].filter(isSet)

  function resolve (given: string): LanguageModel {
    const reference = given === 'default' ? settings.model : given
    const model = models.get(reference) ?? connect(reference)
    models.set(reference, model)
    return model
  }

  function connect (reference: string): LanguageModel {
    const separator = reference.indexOf(':')
    const provider = providers.get(reference.slice(0, Math.max(separator, 0)))
    const modelId = reference.slice(separator + 1)
    if (provider === undefined || modelId === '') {
      throw misconfigured(`There is no model "${reference}"; MODEL and agents can name: ${references.join(', ')}`, 'MODEL')
    }
    if (!isSet(provider.value)) throw misconfigured(`The model "${reference}" needs ${provider.variable}`, provider.variable)
    return provider.connect(provider.value)(modelId)
  }

  resolve('default')

  return {
    defaultReference: settings.model,
    references: ['default', ...references],
    has (reference) {
      try {
        resolve(reference)
        return true
      } catch {
        return false // resolve throws for nothing else
      }
    },
    resolve,
    toError: (error) => toModelError(error, secrets)
  }
}

function providersOf (settings: ModelSettings): Readonly<Record<string, Provider>> {
  const fetch = settings.fetch === undefined ? {} : { fetch: settings.fetch }
  return {
    openai: {
      variable: 'OPENAI_API_KEY',
      value: settings.openaiApiKey,
      connect: (apiKey) => {
        const openai = createOpenAI({ apiKey, ...fetch })
        return (modelId) => withoutStoring(openai.responses(modelId))
      }
    },
    anthropic: {
      variable: 'ANTHROPIC_API_KEY',
      value: settings.anthropicApiKey,
      connect: (apiKey) => createAnthropic({ apiKey, ...fetch })
    },
    google: {
      variable: 'GOOGLE_API_KEY',
      value: settings.googleApiKey,
      connect: (apiKey) => createGoogle({ apiKey, ...fetch })
    },
    compatible: {
      variable: 'OPENAI_COMPATIBLE_BASE_URL',
      value: settings.openaiCompatibleBaseUrl,
      connect: (baseURL) => createOpenAICompatible({
        name: settings.openaiCompatibleName ?? 'openai-compatible',
        baseURL,
        includeUsage: true, // without it a stream ends without usage
        ...(isSet(settings.openaiCompatibleApiKey) ? { apiKey: settings.openaiCompatibleApiKey } : {}),
        ...fetch
      })
    }
  }
}

/** The Responses API keeps each conversation at the vendor unless told otherwise: https://platform.openai.com/docs/api-reference/responses */
function withoutStoring (model: LanguageModel): LanguageModel {
  const middleware = defaultSettingsMiddleware({ settings: { providerOptions: { openai: { store: false } } } })
  return wrapLanguageModel({ model, middleware })
}

function isSet (value: string | undefined): value is string {
  return value !== undefined && value !== ''
}

function misconfigured (message: string, field: string): ThreadlineError {
  return new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', message, { field })
}
