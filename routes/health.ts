import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ErrorBody } from '../lib/protocol/error-body.ts'

const Health = Type.Object({ status: Type.Literal('ok') })

/** For probes: `/health/live` answers while the process serves, `/health/ready` while it can store messages. */
export default async function health (app: FastifyInstance): Promise<void> {
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()
  const common = { tags: ['Service'], response: { 200: Health, '4xx': ErrorBody, '5xx': ErrorBody } }
  const ready = shareFor(readyMs, () => app.storage.ping())

  typed.get('/health/live', {
    config: { public: true },
    logLevel: 'warn',
    schema: { operationId: 'getLiveness', summary: 'Whether the process serves', ...common }
  }, async () => ({ status: 'ok' as const }))
  typed.get('/health/ready', {
    config: { public: true },
    logLevel: 'warn',
    schema: { operationId: 'getReadiness', summary: 'Whether messages can be stored', ...common }
  }, async () => {
    await ready()
    return { status: 'ok' as const }
  })
}

/** How long an answer about the storage holds: probes must not become its load. */
const readyMs = 1_000

/** `ask`, asked at most once in `periodMs`; whoever comes meanwhile shares the answer. It serves nobody in particular. */
function shareFor (periodMs: number, ask: () => Promise<void>): () => Promise<void> {
  let askedAt = -Infinity
  let answer = Promise.resolve()
  return () => {
    if (performance.now() - askedAt > periodMs) {
      askedAt = performance.now()
      answer = ask()
    }
    return answer
  }
}
