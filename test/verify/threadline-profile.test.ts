import t from 'tap'
import { attributes } from '../../lib/context/attributes.ts'
import { hops } from '../../lib/context/hop.ts'
import { errorCodes } from '../../lib/errors.ts'
import { runEventTypes } from '../../lib/protocol/events.ts'
import { readProfile } from '../../verify/read-profile.ts'
import { threadlineProfile } from '../../verify/threadline-profile.ts'

t.test('the profile names what the service writes on its spans', async (t) => {
  const { attributes: names } = threadlineProfile

  t.same(names, {
    hop: attributes.hop,
    user: attributes.userId,
    thread: attributes.threadId,
    run: attributes.runId,
    request: attributes.requestId,
    connection: attributes.connectionId,
    recipientUser: attributes.recipientUserId,
    recipientThread: attributes.recipientThreadId,
    eventType: attributes.eventType,
    sequence: attributes.sequence,
    baggageSent: attributes.baggageSent,
    host: 'server.address',
    port: 'server.port',
    errorType: attributes.errorType,
    violation: attributes.violation
  })
})

t.test('the profile has the hops of the service, in their order, behind the request that stands for a frame', async (t) => {
  t.same(threadlineProfile.hops.map(({ name }) => name), ['http.request', ...hops])
  t.doesNotThrow(() => readProfile(JSON.parse(JSON.stringify(threadlineProfile))), 'and they name each other')
})

t.test('the profile knows how a run tells its end, and what refuses it', async (t) => {
  const { hop, eventType, excusedBy } = threadlineProfile.terminal ?? {}

  t.equal(hop, 'emitter')
  t.ok(runEventTypes.some((type) => type === eventType))
  t.same(excusedBy?.filter((code) => !errorCodes.some((known) => known === code)), [])
})
