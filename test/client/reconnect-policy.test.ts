import t from 'tap'
import fc from 'fast-check'
import { deferralMs, defaultReconnectPolicy, mayReconnect, nextStep, reconnectDelayMs } from '../../client/reconnect-policy.ts'
import { closeCodes, mayReconnect as mayReconnectByProtocol } from '../../lib/protocol/close-codes.ts'

const policy = { ...defaultReconnectPolicy, baseMs: 100, maxMs: 1_500 }

t.test('G97 the bound of the delay doubles with each attempt up to its maximum', async (t) => {
  const almostOne = (): number => 0.999_999

  const bounds = [0, 1, 2, 3, 4, 5, 50, 5_000].map((attempt) => reconnectDelayMs(attempt, policy, almostOne) + 1)

  t.same(bounds, [100, 200, 400, 800, 1_500, 1_500, 1_500, 1_500])
})

t.test('G97 the delay is spread over all that is below its bound', async (t) => {
  t.equal(reconnectDelayMs(3, policy, () => 0), 0)
  t.equal(reconnectDelayMs(3, policy, () => 0.5), 400)
  t.equal(reconnectDelayMs(9, policy, () => 0.5), 750)
})

t.test('no delay is negative, broken, or beyond the maximum', async (t) => {
  const chances = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  const property = fc.property(fc.nat(100_000), chances, (attempt, chance) => {
    const delayMs = reconnectDelayMs(attempt, defaultReconnectPolicy, () => chance)
    return Number.isInteger(delayMs) && delayMs >= 0 && delayMs < defaultReconnectPolicy.maxMs
  })

  t.doesNotThrow(() => { fc.assert(property) })
})

t.test('the client reads close codes as the protocol does', async (t) => {
  for (const code of [1000, 1006, 4399, 4400, 4499, 4500, ...Object.values(closeCodes)]) {
    t.equal(mayReconnect(code), mayReconnectByProtocol(code), String(code))
  }
})

t.test('what was not authenticated is tried once more, with a new token, if there can be one', async (t) => {
  t.equal(nextStep(4401, { canRenew: true, alreadyRenewed: false }), 'renew')
  t.equal(nextStep(4401, { canRenew: true, alreadyRenewed: true }), 'stop')
  t.equal(nextStep(4401, { canRenew: false, alreadyRenewed: false }), 'stop')
  t.equal(nextStep(4403, { canRenew: true, alreadyRenewed: false }), 'stop')
  t.equal(nextStep(4508, { canRenew: true, alreadyRenewed: true }), 'wait')
})

t.test('whoever is asked to come again does so after that time and something more, within bounds', async (t) => {
  const defer = (code: number, retryAfterMs: number | undefined, deferrals = 0) => deferralMs({ code, retryAfterMs }, deferrals, policy, () => 0.5)

  t.equal(defer(4429, 3_000), 3_050)
  t.equal(defer(4503, 3_000, 4), 3_050)
  t.equal(defer(4429, 3_000_000), 60_050)
  t.same([defer(4429, undefined), defer(4429, 3_000, 5), defer(4401, 3_000), defer(4403, 3_000)], [undefined, undefined, undefined, undefined])
})
