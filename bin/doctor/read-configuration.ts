import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import config from '../../plugins/config.ts'

export type Configuration = FastifyInstance['config']

/** The configuration, read exactly as the server reads it. Rejects with what is wrong, which names the variable and not its value. */
export async function readConfiguration (environment: Readonly<Record<string, string | undefined>>): Promise<Configuration> {
  const app = Fastify()
  try {
    await app.register(config, { env: environment })
    return app.config
  } finally {
    await app.close()
  }
}
