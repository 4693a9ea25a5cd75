import { Readable } from 'node:stream'
import { Type } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import type { TSchema } from 'typebox'
import { MessageView, RunView, ThreadView } from '../lib/protocol/events.ts'
import { toThreadId } from '../lib/protocol/ids.ts'
import { failures, protocolRoutes, strict, ThreadPath } from './protocol-routes.ts'

const Format = Type.Object({
  format: Type.Optional(Type.Union([Type.Literal('json'), Type.Literal('markdown')], { description: 'json when absent' }))
}, strict)

const ExportedThread = Type.Object({
  exported_at: Type.String({ description: 'ISO 8601, UTC' }),
  thread: ThreadView,
  messages: Type.Array(MessageView, { description: 'The visible branch, oldest first' }),
  runs: Type.Array(RunView, { description: 'Newest first' })
}, { description: 'A thread with its visible branch and all of its runs' })

const kinds = {
  json: { mediaType: 'application/json; charset=utf-8', extension: 'json' },
  markdown: { mediaType: 'text/markdown; charset=utf-8', extension: 'md' }
} as const

/** A conversation to take along. */
export default async function exports (app: FastifyInstance): Promise<void> {
  protocolRoutes(app).get('/v1/threads/:thread_id/export', {
    exposeHeadRoute: false, // it would read the whole thread, to send nothing
    schema: {
      operationId: 'exportThread',
      tags: ['Threads'],
      summary: 'A thread as a file',
      description: 'The visible branch from the beginning: as JSON with every field of its messages and with the runs of the thread, as Markdown ' +
        'to be read. It is sent as it is read; when that fails in the middle, the connection is cut off, and the file is not whole.',
      params: ThreadPath,
      querystring: Format,
      response: {
        200: {
          description: 'A file',
          content: { 'application/json': { schema: streamed(ExportedThread) }, 'text/markdown': { schema: streamed(Type.String()) } }
        },
        ...failures
      }
    }
  }, async ({ params, query: { format = 'json' } }, reply) => {
    const { thread, text } = await app.gateway.exportThread(toThreadId(params.thread_id), format)
    const { mediaType, extension } = kinds[format]
    return await reply
      .type(mediaType)
      .header('content-disposition', `attachment; filename="${fileName(thread)}.${extension}"`)
      .header('cache-control', 'no-store')
      .send(Readable.from(text))
  })
}

/** The schema of what is sent as a stream. */
function streamed (schema: TSchema) {
  return Type.Unsafe<Readable>(schema)
}

/** What is left of the title in letters and digits that every system takes for a name, else the thread's id. */
function fileName ({ title, thread_id: threadId }: ThreadView): string {
  const words = (title ?? '').normalize('NFKD').replaceAll(/\p{Mark}/gu, '').replaceAll(/[^A-Za-z0-9]+/g, '-')
  const name = words.slice(0, 64).replaceAll(/^-+|-+$/g, '')
  return name === '' ? `thread-${threadId}` : name
}
