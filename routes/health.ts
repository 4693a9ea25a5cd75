import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { ErrorBody } from '../lib/protocol/error-body.ts'

const Health = Type.Object({ status: Type.Literal('ok') })

/** For probes: `/health/live` answers while the process serves, `/health/ready` while it can store messages. */
export default async function health (app: FastifyInstance): Promise<void> {
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()
  const schema = { response: { 200: Health, '5xx': ErrorBody } }

  typed.get('/health/live', { config: { public: true }, logLevel: 'warn', schema }, async () => ({ status: 'ok' as const }))
  typed.get('/health/ready', { config: { public: true }, logLevel: 'warn', schema }, async () => {
    await app.storage.ping()
    return { status: 'ok' as const }
  })
}
