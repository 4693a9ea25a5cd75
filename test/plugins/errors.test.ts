import t from 'tap'
import { Type } from 'typebox'
import { ThreadlineError } from '../../lib/errors.ts'
import { isRequestId } from '../../lib/protocol/ids.ts'
import { http, startServer, type TestServer } from '../support/authentication.ts'

const open = { config: { public: true } }

async function start (t: Parameters<typeof startServer>[0]): Promise<TestServer> {
  return await startServer(t, {
    routes (app) {
      app.post('/echo', {
        ...open, bodyLimit: 100, schema: { body: Type.Object({ text: Type.String() }), querystring: Type.Object({ n: Type.Optional(Type.Integer()) }) }
      }, async ({ body }) => body)
      app.get('/parameter/:text', open, async () => 'never')
      app.get('/known', open, async () => { throw new ThreadlineError('THREADLINE_QUEUE_FULL') })
      app.get('/unknown', open, async () => { throw new Error('hunter2 is the password') })
      app.get('/foreign', open, async () => { throw Object.assign(new Error('hunter2 is the key'), { statusCode: 401 }) })
      app.get('/thrown', open, async () => { throw 'hunter2' as unknown as Error }) // what a careless library may do
      app.get('/serialised', { ...open, schema: { response: { 200: Type.Object({ n: Type.Integer() }) } } }, async () => ({ m: 'hunter2' }))
    }
  })
}

t.test('every error has one shape, a code and the id of its request', async (t) => {
  const { origin } = await start(t)
  const cases = [
    [404, 'THREADLINE_NOT_FOUND', await http(`${origin}/nowhere`)],
    [404, 'THREADLINE_NOT_FOUND', await http(`${origin}/echo`)],
    [400, 'THREADLINE_BAD_REQUEST', await http(`${origin}/echo`, { method: 'POST', body: { text: [] } })],
    [400, 'THREADLINE_BAD_REQUEST', await http(`${origin}/echo?n=x`, { method: 'POST', body: { text: 'x' } })],
    [400, 'THREADLINE_BAD_REQUEST', await http(`${origin}/echo`, { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': '0' } })],
    [400, 'THREADLINE_BAD_REQUEST', await http(`${origin}/echo`, { method: 'POST', body: 'x', headers: { 'content-type': 'text/html' } })],
    [413, 'THREADLINE_BODY_TOO_LARGE', await http(`${origin}/echo`, { method: 'POST', body: { text: 'x'.repeat(100) } })],
    [400, 'THREADLINE_BAD_REQUEST', await http(`${origin}/%zz`)],
    [400, 'THREADLINE_BAD_REQUEST', await http(`${origin}/parameter/${'x'.repeat(101)}`)],
    [429, 'THREADLINE_QUEUE_FULL', await http(`${origin}/known`)],
    [500, 'THREADLINE_INTERNAL', await http(`${origin}/unknown`)],
    [500, 'THREADLINE_INTERNAL', await http(`${origin}/foreign`)],
    [500, 'THREADLINE_INTERNAL', await http(`${origin}/thrown`)],
    [500, 'THREADLINE_INTERNAL', await http(`${origin}/serialised`)]
  ] as const

  for (const [status, code, answer] of cases) {
    t.equal(answer.status, status, code)
    t.match(answer.body, { error: { code, message: /./, request_id: answer.headers['x-request-id'] ?? '' } }, code)
    t.ok(isRequestId(answer.headers['x-request-id']), code)
    t.notMatch(JSON.stringify(answer.body), /hunter2/)
  }
})

t.test('text that is not JSON is refused as a bad request', async (t) => {
  const { origin } = await start(t)

  const response = await fetch(`${origin}/echo`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"text":' })

  t.equal(response.status, 400)
  t.match(await response.json(), { error: { code: 'THREADLINE_BAD_REQUEST' } })
})

t.test('what a client is not told is logged in full, under the request\'s id', async (t) => {
  const { origin, log } = await start(t)

  const { headers } = await http(`${origin}/unknown`)

  const line = log().split('\n').find((line) => line.includes('hunter2 is the password'))
  t.match(JSON.parse(line ?? '{}'), { level: 50, reqId: headers['x-request-id'] ?? '', err: { stack: /errors\.test/ } })
})

t.test('a request id is made here, whatever the client sends', async (t) => {
  const { origin } = await start(t)

  const one = await http(`${origin}/known`, { headers: { 'x-request-id': 'mine', 'request-id': 'mine' } })
  const other = await http(`${origin}/known`)

  t.ok(isRequestId(one.headers['x-request-id']))
  t.not(one.headers['x-request-id'], other.headers['x-request-id'])
})
