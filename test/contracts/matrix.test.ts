import t, { type Test } from 'tap'
import { answers } from '../../lib/protocol/answers.ts'
import { isCommandType } from '../../lib/protocol/commands.ts'
import { mismatchesOfAnswer } from '../support/conformance.ts'
import { call, comparable, type Call, type Response } from '../support/matrix/call.ts'
import { commandEntries } from '../support/matrix/command-entries.ts'
import { httpEntries, publicOperations } from '../support/matrix/http-entries.ts'
import { expiredToken, inventory, moveOn, settle } from '../support/matrix/inhabitant.ts'
import { knock } from '../support/matrix/knock.ts'
import { framesOf, operationsOf, requestsOf, type Operation } from '../support/matrix/operation.ts'
import { meet, probeCommand, probeOperation, type Outcome } from '../support/matrix/probe.ts'
import { startServer } from '../support/start-server.ts'
import { openSocket, TestSocket } from '../support/test-socket.ts'

/**
 * Every operation and every command of the served contracts, called by whoever may call it and by whoever may not. A new one without an entry in
 * `test/support/matrix/` fails here.
 *
 * Kills, each seen to fail: in `identity-of-command.ts` the thread checked for every command but one, or the second thread not checked at all; the
 * status of `THREADLINE_THREAD_NOT_FOUND` made 403; a title remembered from one user and told in the error of the next.
 */

const server = await startServer(t, { env: { AUTH_CLOCK_TOLERANCE: 0 } })

const operations = operationsOf(JSON.parse((await call(server.url, { method: 'GET', path: '/v1/openapi.json' })).text))
const asyncApi = JSON.parse((await call(server.url, { method: 'GET', path: '/v1/asyncapi.json' })).text)
const commands = Object.entries<{ action: string }>(asyncApi.operations).filter(([, { action }]) => action === 'receive').map(([name]) => name)
const closed = operations.filter(({ isPublic }) => !isPublic)

const ask = async (request: Call, token?: string): Promise<Response> => await call(server.url, { ...request, token })

const encounter = await meet(server)
/** What the owner has, and how much they had been told, when nobody had tried anything yet. */
const before = await inventory(server, encounter.owner)
const heard = (await encounter.owner.socket.settled()).length

t.test('every operation and every command of the contracts has an entry in the matrix, and every entry is of one', async (t) => {
  t.same(Object.keys(httpEntries).toSorted(), closed.map(({ operationId }) => operationId).toSorted())
  t.same(Object.keys(publicOperations).toSorted(), operations.filter(({ isPublic }) => isPublic).map(({ operationId }) => operationId).toSorted())
  t.same(Object.keys(commandEntries).toSorted(), commands.toSorted())
})

t.test('D43 E65 K132 of every operation another user\'s ids are as unknown as those of nobody, and nothing of them is told or changed', async (t) => {
  for (const operation of closed) {
    await t.test(operation.operationId, async (t) => {
      const stranger = isLast(operation) ? await settle(server, 'stranger') : encounter.stranger

      await judge(t, await probeOperation(server, operation, { ...encounter, stranger }))
    })
  }
})

t.test('D43 E56 E61 E65 of every command another user\'s ids are as unknown as those of nobody, and nothing of them is told or changed', async (t) => {
  for (const type of commands.filter(isCommandType)) {
    await t.test(type, async (t) => {
      await judge(t, await probeCommand(type, encounter))
    })
  }
})

t.test('H101 no operation but the public ones is carried out without a token or with an expired one, whatever it names', async (t) => {
  const { owner, unknown } = encounter
  const expired = await expiredToken(server, owner.user)

  for (const operation of closed) {
    for (const request of requestsOf(operation)) {
      const { method, path, upgrade } = request(owner.ids)
      for (const [token, code] of [[undefined, 'THREADLINE_UNAUTHENTICATED'], ['x', 'THREADLINE_UNAUTHENTICATED'], [expired, 'THREADLINE_TOKEN_EXPIRED']] as const) {
        const known = await ask(request(owner.ids), token)
        const other = await ask(request(unknown), token)
        const broken = await ask({ method, path: path.replaceAll(/run_[^/?]+|[0-9a-f-]{36}/g, 'x'), upgrade }, token)

        t.equal(known.status, 401, operation.operationId)
        t.match(JSON.parse(known.text), { error: { code } })
        t.equal(comparable(other), comparable(known), `${operation.operationId} with unknown ids`)
        t.equal(comparable(broken), comparable(known), `${operation.operationId} with ids that are none`)
      }
    }
  }
  await unchanged(t)
})

t.test('H101 no command is carried out without a token or with an expired one, also where its frame does not wait for the handshake', async (t) => {
  const { owner } = encounter
  const path = `/v1/socket?thread_id=${owner.ids.thread}`
  const expired = await expiredToken(server, owner.user)
  const connections = server.app.gateway.load.connections

  for (const frame of commands.filter(isCommandType).flatMap(framesOf).map((build) => build(owner.ids))) {
    for (const token of [undefined, expired]) {
      const answer = await knock(server.url, { path, token, frame })
      t.match(answer, /^HTTP\/1\.1 401 /, frame.type)
      t.equal(answer.split('{"error"').length, 2, 'one answer, and nothing after it')
    }
  }
  t.equal(server.app.gateway.load.connections, connections)
  await unchanged(t)
})

t.test('a socket whose token expires is told so, and closed with 4401', async (t) => {
  const { user, ids } = encounter.owner
  const token = await server.token(user, 3)
  const address = `${server.url.replace('http', 'ws')}/v1/socket?thread_id=${ids.thread}`
  const socket = await openSocket(address, { protocols: ['threadline.v1', `bearer.${token}`] })
  if (!(socket instanceof TestSocket)) throw new Error(`Refused: ${JSON.stringify(socket)}`)

  const { code } = await socket.closed

  t.equal(code, 4401)
  t.match(socket.events.at(-1), { type: 'error', payload: { code: 'THREADLINE_TOKEN_EXPIRED' } })
})

t.test('the public operations are carried out for everybody, and tell nothing of anybody', async (t) => {
  for (const operation of operations.filter(({ isPublic }) => isPublic)) {
    const { operationId, method, path } = operation
    const { status, text } = await ask({ method, path, ...(method === 'POST' ? { body: { user_id: 'somebody' } } : {}) })

    t.ok(status < 300, `${operationId}: ${publicOperations[operationId]}`)
    t.same(encounter.owner.secrets.filter((secret) => text.includes(secret)), [])
  }
})

t.test('every operation is carried out for whoever owns what it names', async (t) => {
  const owner = await settle(server, 'owner')

  for (const operation of closed) {
    const responses = responsesOf(operation)
    await t.test(operation.operationId, async (t) => {
      for (const request of requestsOf(operation)) {
        const { ids, token } = isLast(operation) ? await settle(server, 'owner') : { ...owner, ids: await moveOn(owner) }

        const { status, text, headers } = await ask(request(ids), token)

        const isJson = headers.some((header) => /^content-type: application\/json/i.test(header))
        t.ok(Object.keys(responses).includes(String(status)) && status < 300, `${status} ${text}`)
        if (isJson) t.same(mismatchesOfAnswer({ where: operation.operationId, status, responses, body: JSON.parse(text) }), [])
      }
    })
  }
})

t.test('every command is carried out for whoever owns what it names', async (t) => {
  const owner = await settle(server, 'owner')

  for (const type of commands.filter(isCommandType)) {
    await t.test(type, async (t) => {
      for (const frame of framesOf(type)) {
        const ids = { ...await moveOn(owner), token: await server.token(owner.user) }

        const answer = await owner.socket.ask(frame(ids))

        t.ok((answers[type] as readonly string[]).includes(answer.type), JSON.stringify(answer))
      }
    })
  }
})

/** Whoever calls it is no more. */
function isLast ({ operationId }: Operation): boolean {
  return httpEntries[operationId]?.erases === true
}

async function judge (t: Test, outcomes: readonly Outcome[]): Promise<void> {
  const { secrets } = encounter.owner
  t.ok(outcomes.length > 0)
  for (const { title, refusal, code, status, foreign, unknown } of outcomes) {
    t.equal(foreign, unknown, title)
    t.same(secrets.filter((secret) => foreign.includes(secret)), [], `${title}: nothing of the owner is told`)
    if (refusal !== undefined) t.match(code, refusal, `${title}: ${foreign}`)
    if (refusal !== undefined && status !== undefined) t.equal(status, 404, title)
  }
  await unchanged(t)
}

async function unchanged (t: Test): Promise<void> {
  const told = (await encounter.owner.socket.settled()).slice(heard).filter(({ type }) => type !== 'pong')
  t.equal(await inventory(server, encounter.owner), before, 'nothing of the owner is changed')
  t.same(told, [], 'the owner is told nothing')
}

function responsesOf ({ method, path }: Operation): Readonly<Record<string, unknown>> {
  const route = server.routes.find((each) => each.method === method && each.url.replace(/:(\w+)/g, '{$1}') === path)
  return route?.schema?.response as Readonly<Record<string, unknown>> | undefined ?? {} // Fastify's own form
}
