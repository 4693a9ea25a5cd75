import { join } from 'node:path'
import Fastify from 'fastify'
import { registerContextManager } from '../../lib/context/context-manager.ts'
import { startTelemetry } from '../../lib/telemetry/start-telemetry.ts'
import { serveMeasured } from '../support/measured-server.ts'

/**
 * The whole service as `npm start` starts it, on an embedded database in the folder that is the first argument. Its agent tells as many
 * events as its message asks for, one after the other. The sockets that may be open are of one user.
 */

registerContextManager()
await startTelemetry()
const { default: threadline, options } = await import('../../app.ts')
const { defineAgent } = await import('../../lib/agents/define-agent.ts')
const { toUserId } = await import('../../lib/protocol/ids.ts')

const agent = defineAgent({
  name: 'talkative',
  async * run ({ context }) {
    // Beside these, a run tells that it starts, that it reads, and that it ends.
    for (let event = 3; event < Number(context['events']); event += 1) yield { type: 'thinking', message: `Looking at point ${event} of what was asked` }
  }
})

serveMeasured(async () => {
  const app = Fastify({ ...options, logger: { ...options.logger, level: 'error' }, pluginTimeout: 60_000 })
  await app.register(threadline, {
    agents: [agent],
    env: {
      DATA_DIR: process.argv[2],
      AGENTS_DIR: join(import.meta.dirname, '../../agents'),
      DEFAULT_AGENT: 'talkative',
      MESSAGES_PER_WINDOW: 1_000_000,
      MAX_CONNECTIONS_PER_USER: 1_000,
      MAX_OUTBOX_BYTES: 64 * 1024 * 1024
    }
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const signed = await app.authentication.developmentTokens?.sign({ userId: toUserId('alice'), expiresInSeconds: 3600 })
  return { url: `${url.replace('http', 'ws')}/v1/socket`, offers: [['threadline.v1', `bearer.${signed?.token}`]] }
})
