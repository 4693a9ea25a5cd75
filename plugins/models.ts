import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createModelRegistry, type LanguageModel, type ModelRegistry } from '../lib/models/model-registry.ts'

declare module 'fastify' {
  interface FastifyInstance {
    models: ModelRegistry
  }
}

export interface ModelsOptions {
  /** Further models under names of their own. */
  readonly models?: Readonly<Record<string, LanguageModel>>
}

/** The models that agents can name, from the configuration. The server does not start with a default that does not exist. */
export default fp(async function models (app, options: ModelsOptions) {
  app.decorate('models', createModelRegistry({ ...modelSettings(app.config), models: options.models }))
}, { name: 'models', fastify: '5.x', dependencies: ['config'] })

function modelSettings (config: FastifyInstance['config']) {
  const {
    model, openaiCompatibleBaseUrl, openaiCompatibleName, openaiCompatibleApiKey, openaiApiKey, anthropicApiKey, googleApiKey
  } = config
  return { model, openaiCompatibleBaseUrl, openaiCompatibleName, openaiCompatibleApiKey, openaiApiKey, anthropicApiKey, googleApiKey }
}
