import t from 'tap'
import { ProfileError, readProfile } from '../../verify/read-profile.ts'
import type { Span } from '../../verify/span.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'
import { verify } from '../../verify/verify.ts'
import { makeTrace, muchLater } from '../support/made-trace.ts'

t.test('what a profile does not say is as in Threadline\'s own', async (t) => {
  t.same(readProfile({}), threadlineProfile)
  t.same(readProfile({ attributes: { user: 'enduser.id' } }), {
    ...threadlineProfile, attributes: { ...threadlineProfile.attributes, user: 'enduser.id' }
  })
  t.same(readProfile({ baggageHosts: ['tools.internal:8080'] }).baggageHosts, ['tools.internal:8080'])
})

t.test('Threadline\'s own profile can be written as JSON', async (t) => {
  t.same(readProfile(JSON.parse(JSON.stringify(threadlineProfile))), threadlineProfile)
})

const ofATeam = {
  hops: [
    { name: 'api' },
    { name: 'queue', after: ['api'], leadsTo: ['worker'], carries: ['user'] },
    { name: 'worker', after: ['queue'], carries: ['user', 'thread'] }
  ],
  attributes: { hop: 'station', user: 'tenant.user', thread: 'session' }
}

t.test('a team verifies its own service by its own names', async (t) => {
  const profile = readProfile(ofATeam)
  const [first] = makeTrace()
  if (first === undefined) throw new Error('no span')
  const span = (spanId: string, parentSpanId: string | undefined, attributes: Span['attributes']): Span => ({ ...first, spanId, parentSpanId, name: spanId, attributes })
  const api = span('a', undefined, { station: 'api' })
  const queue = span('b', 'a', { station: 'queue', 'tenant.user': 'alice' })
  const worker = span('c', 'b', { station: 'worker', 'tenant.user': 'alice', session: 's' })
  const stranger = span('c', 'b', { station: 'worker', 'tenant.user': 'bob', session: 's' })

  t.match(verify([api, queue, worker], { profile, nowMs: muchLater }), { verdict: 'clean' })
  t.match(verify([api, queue, stranger], { profile, nowMs: muchLater }).findings, [{ rule: 'CTX004', hop: 'worker', lastRight: { hop: 'queue' } }])
  t.match(verify([api, queue], { profile, nowMs: muchLater }).findings, [{ rule: 'CTX001', hop: 'worker' }])
  t.match(verify(makeTrace(), { profile, nowMs: muchLater }), { verdict: 'clean' }, 'it knows no hop of ours')
})

t.test('hops of a team\'s own come without Threadline\'s implied hops and end of runs', async (t) => {
  const { implied, terminal } = readProfile(ofATeam)

  t.same(implied, [])
  t.equal(terminal, undefined)
})

t.test('what is not understood is refused, and named', async (t) => {
  const refused: readonly (readonly [unknown, string, RegExp])[] = [
    [null, '', /The profile is not an object/],
    [[], '', /is not an object/],
    [{ hop: [] }, '', /unknown name hop; known are hops, attributes/],
    [{ hops: {} }, 'hops', /is not a list/],
    [{ hops: [] }, 'hops', /is empty/],
    [{ hops: [{ name: 7 }] }, 'hops[0].name', /is not text/],
    [{ hops: [{ name: 'a', carries: ['tenant'] }] }, 'hops[0].carries[0]', /none of user, thread, run/],
    [{ hops: [{ name: 'a', delivers: 'yes' }] }, 'hops[0].delivers', /is neither true nor false/],
    [{ hops: [{ name: 'a', after: ['b'] }] }, 'hops[0].after', /names the hop b/],
    [{ hops: [{ name: 'a', leadsTo: ['b'] }] }, 'hops[0].leadsTo', /names the hop b/],
    [{ hops: [{ name: 'a' }, { name: 'a' }] }, 'hops[1].name', /second hop a/],
    [{ hops: [{ name: 'a', before: [] }] }, 'hops[0]', /unknown name before/],
    [{ attributes: { user: '' } }, 'attributes.user', /is not text/],
    [{ attributes: { tenant: 'x' } }, 'attributes', /unknown name tenant/],
    [{ implied: [{ kind: 'outer', hop: 'handler' }] }, 'implied[0].kind', /none of unspecified, internal/],
    [{ implied: [{ kind: 'server', hop: 'nowhere' }] }, 'implied[0].hop', /names the hop nowhere/],
    [{ carriers: [{ kind: 'client' }] }, 'carriers[0].name', /is not text/],
    [{ terminal: { hop: 'nowhere', eventType: 'end' } }, 'terminal.hop', /names the hop nowhere/],
    [{ baggageHosts: 'all' }, 'baggageHosts', /is not a list/],
    [{ apart: [1] }, 'apart[0]', /is not text/]
  ]
  for (const [json, path, message] of refused) {
    const error = thrownBy(() => readProfile(json))

    t.match(error, { code: 'THREADLINE_INVALID_PROFILE', path, message })
    t.ok(error instanceof ProfileError)
  }
})

function thrownBy (fn: () => unknown): unknown {
  try {
    return fn()
  } catch (error) {
    return error
  }
}
