import fp from 'fastify-plugin'
import { createTitleGenerator } from '../lib/engine/title-generator.ts'
import { ThreadlineError } from '../lib/errors.ts'

/**
 * Gives a thread that has no title one after its first answer, and tells the user's connections. It begins when the answer is stored, and
 * nothing waits for it. The server does not start with a `TITLE_MODEL` that does not exist.
 */
export default fp(async function titles (app) {
  const { models, storage, engine, gateway, log: logger } = app
  const { titleModel, titleTimeoutMs: timeoutMs } = app.config
  if (titleModel === 'off') return
  if (!models.has(titleModel)) {
    throw new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `TITLE_MODEL names ${titleModel}, which does not exist or is not configured`, { field: 'TITLE_MODEL' })
  }
  const generator = createTitleGenerator({
    model: models.resolve(titleModel),
    toModelError: (error) => models.toError(error),
    threads: storage.threads,
    account: storage.account,
    timeoutMs,
    logger,
    titled: (thread) => { gateway.tell('thread_updated', thread) }
  })

  engine.onEnded((ended) => { generator.consider(ended) })
  app.addHook('onClose', async () => { await generator.close() })
}, { name: 'titles', fastify: '5.x', dependencies: ['config', 'storage', 'models', 'engine', 'gateway'] })
