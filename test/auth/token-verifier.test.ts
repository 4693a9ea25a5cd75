import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { exportSPKI, importJWK, type CryptoKey } from 'jose'
import t from 'tap'
import { createDevelopmentTokens } from '../../lib/auth/development-tokens.ts'
import { createTokenVerifier, maxTokenCharacters } from '../../lib/auth/token-verifier.ts'
import { isThreadlineError } from '../../lib/errors.ts'
import { reservedUserPrefix, type UserId } from '../../lib/protocol/ids.ts'
import { audience, createSigningKey, inSeconds, issuer, secret, signToken, startKeyServer, type TokenInput } from '../support/authentication.ts'

const keys = { secret: new TextEncoder().encode(secret) }
const verify = createTokenVerifier({ keys, issuer, audience, clockToleranceSeconds: 5 })

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const goodClaims = () => ({ sub: 'alice', iss: issuer, aud: audience, exp: inSeconds(60) })
const unauthenticated = { name: 'ThreadlineError', code: 'THREADLINE_UNAUTHENTICATED' }
const expired = { name: 'ThreadlineError', code: 'THREADLINE_TOKEN_EXPIRED' }

t.test('H100 a good token names its user and when it expires', async (t) => {
  const exp = inSeconds(60)

  const caller = await verify(await signToken({ sub: 'auth0|alice', exp, aud: ['other', audience] }))

  t.strictSame(caller, { userId: 'auth0|alice', expiresAt: new Date(exp * 1000) })
})

const refused: Record<string, TokenInput> = {
  'another audience': { aud: 'other' },
  'no audience': { aud: undefined },
  'another issuer': { iss: 'https://other.example' },
  'no issuer': { iss: undefined },
  'no expiry': { exp: undefined },
  'an expiry that is text': { exp: '2999-01-01' },
  'an expiry that is no date': { exp: 1e300 },
  'no subject': { sub: undefined },
  'an empty subject': { sub: '' },
  'a subject that is a number': { sub: 7 },
  'a subject that is a list': { sub: ['alice'] },
  'a subject with blanks at its end': { sub: 'alice ' },
  'a subject with a null byte': { sub: 'alice\u0000' },
  'a subject with a line break': { sub: 'alice\r\nx-admin: yes' },
  'a subject with half a character': { sub: 'alice\ud800' },
  'an over-long subject': { sub: 'a'.repeat(129) },
  'a subject that is a user of the service itself': { sub: `${reservedUserPrefix}a` },
  'a time before which it is not valid': { claims: { nbf: inSeconds(60) } },
  'another key': { key: new TextEncoder().encode('another secret of more than 32 bytes') },
  'another algorithm of the same family': { header: { alg: 'HS512' }, key: new TextEncoder().encode(secret.repeat(2)) }
}

for (const [fault, input] of Object.entries(refused)) {
  t.test(`H101 a token with ${fault} is refused`, async (t) => {
    await t.rejects(verify(await signToken(input)), unauthenticated)
  })
}

t.test('H101 a token is good within the clock tolerance and expired beyond it', async (t) => {
  t.equal((await verify(await signToken({ exp: inSeconds(-2) }))).userId, 'alice')
  await t.rejects(verify(await signToken({ exp: inSeconds(-10) })), expired)
})

t.test('H101 a forged token that has expired is not told apart from any other forged one', async (t) => {
  const forged = await signToken({ exp: inSeconds(-100), key: new TextEncoder().encode('another secret of more than 32 bytes') })

  await t.rejects(verify(forged), unauthenticated)
})

t.test('H101 a token without signature is refused, however its algorithm is spelled', async (t) => {
  for (const alg of ['none', 'None', 'NONE', '', 'HS256']) {
    await t.rejects(verify(`${base64url({ alg, typ: 'JWT' })}.${base64url(goodClaims())}.`), unauthenticated, alg)
  }
})

t.test('H101 a token whose claims were exchanged is refused', async (t) => {
  const [header, , signature] = (await signToken()).split('.')

  await t.rejects(verify(`${header}.${base64url({ ...goodClaims(), sub: 'bob' })}.${signature}`), unauthenticated)
})

t.test('H101 a token that demands an extension that is not known is refused', async (t) => {
  await t.rejects(verify(`${base64url({ alg: 'HS256', crit: ['exp'], exp: 1 })}.${base64url(goodClaims())}.AAAA`), unauthenticated)
})

t.test('H101 an over-long token is refused', async (t) => {
  const long = await signToken({ claims: { padding: 'x'.repeat(maxTokenCharacters) } })

  await t.rejects(verify(long), { ...unauthenticated, message: 'The token is too long' })
})

t.test('H101 no text at all makes the verification fail in another way than by refusing', async () => {
  const part = fc.oneof(
    fc.string(), fc.base64String(), fc.json().map((text) => Buffer.from(text).toString('base64url')),
    fc.record({ alg: fc.oneof(fc.constantFrom('HS256', 'RS256', 'none'), fc.jsonValue()), kid: fc.jsonValue(), crit: fc.jsonValue(), b64: fc.jsonValue() })
      .map(base64url)
  )
  const token = fc.oneof(fc.string(), fc.tuple(part, part, part).map((parts) => parts.join('.')), fc.array(part).map((parts) => parts.join('.')))

  await fc.assert(fc.asyncProperty(token, async (text) => {
    const outcome: unknown = await verify(text).then(() => undefined, (error: unknown) => error)
    return isThreadlineError(outcome, 'THREADLINE_UNAUTHENTICATED')
  }), { numRuns: 500 })
})

t.test('a refusal says why in a text that holds neither token nor claims', async (t) => {
  const token = await signToken({ aud: 'other', claims: { email: 'alice@example.com' } })

  const error: unknown = await verify(token).catch((error: unknown) => error)

  t.ok(isThreadlineError(error))
  t.match(error, { cause: 'ERR_JWT_CLAIM_VALIDATION_FAILED: unexpected "aud" claim value' })
  t.notMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)), /alice@example|eyJ/)
})

t.test('public keys', async (t) => {
  const [first, second, rsa] = await Promise.all([createSigningKey('first'), createSigningKey('second'), createSigningKey('rsa', 'RS256')])
  const sign = async ({ kid, alg, privateKey }: typeof first, input: TokenInput = {}): Promise<string> =>
    await signToken({ key: privateKey, header: { alg, kid }, ...input })
  const start = async (t: Parameters<typeof startKeyServer>[0], cooldownMs = 0) => {
    const server = await startKeyServer(t, [first, rsa])
    const verify = createTokenVerifier({ keys: { jwksUrl: server.url, cooldownMs }, issuer, audience, clockToleranceSeconds: 5 })
    return { server, verify }
  }

  t.test('H100 tokens of each published key are accepted, and the keys are fetched once', async (t) => {
    const { server, verify } = await start(t)

    const tokens = await Promise.all([sign(first), sign(rsa), sign(first, { sub: 'bob' })])
    const callers = await Promise.all(tokens.map(verify))

    t.strictSame(callers.map(({ userId }) => userId), ['alice', 'alice', 'bob'])
    t.equal(server.requests(), 1)
  })

  t.test('H101 a key is accepted from when it is published until it is withdrawn', async (t) => {
    const { server, verify } = await start(t)
    const old = await sign(first)
    const fresh = await sign(second)
    await verify(old)
    await t.rejects(verify(fresh), unauthenticated, 'before it is published')

    server.rotate([second])

    t.equal((await verify(fresh)).userId, 'alice')
    await t.rejects(verify(old), unauthenticated, 'after it is withdrawn')
  })

  t.test('tokens with unknown keys do not make the server ask for keys again and again', async (t) => {
    const { server, verify } = await start(t, 60_000)
    await verify(await sign(first))

    const unknown = await Promise.all(Array.from({ length: 20 }, async () => await sign(second)))
    await Promise.all(unknown.map(async (token) => { await t.rejects(verify(token), unauthenticated) }))

    t.equal(server.requests(), 1)
  })

  t.test('H101 a public key is never taken for a shared secret', async (t) => {
    const { verify } = await start(t)
    const publicKey = await importJWK(rsa.publicJwk, 'RS256', { extractable: true })
    t.not(publicKey instanceof Uint8Array, true)
    const texts = [await exportSPKI(publicKey as CryptoKey), JSON.stringify(rsa.publicJwk), String(rsa.publicJwk.n)] // a public key is a CryptoKey

    for (const text of texts) {
      const confused = await signToken({ key: new TextEncoder().encode(text), header: { alg: 'HS256', kid: rsa.kid } })
      await t.rejects(verify(confused), unauthenticated)
    }
  })

  t.test('H101 a key is not accepted for an algorithm of another kind of key', async (t) => {
    const { verify } = await start(t)

    await t.rejects(verify(await sign({ ...first, kid: 'rsa' })), unauthenticated)
  })

  t.test('H101 a token cannot bring its own key', async (t) => {
    const { server, verify } = await start(t)
    const header = { alg: 'ES256', jwk: second.publicJwk, jku: server.url, x5u: server.url, kid: first.kid }

    await t.rejects(verify(await signToken({ key: second.privateKey, header })), unauthenticated)
  })

  t.test('keys that cannot be fetched are the server\'s fault, not the token\'s', async (t) => {
    const silent = createServer()
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    t.teardown(() => { silent.close(); silent.closeAllConnections() })
    const { port } = silent.address() as AddressInfo // it listens on a port
    const jwksUrl = `http://127.0.0.1:${port}/`
    const verify = createTokenVerifier({ keys: { jwksUrl, timeoutMs: 50 }, issuer, audience, clockToleranceSeconds: 5 })

    const error: unknown = await verify(await sign(first)).catch((error: unknown) => error)

    t.match(error, { code: 'ERR_JWKS_TIMEOUT' })
    t.notOk(isThreadlineError(error))
  })
})

t.test('development tokens', async (t) => {
  const alice = 'alice' as UserId // a valid one

  t.test('H100 are verified like any other token', async (t) => {
    const tokens = createDevelopmentTokens({ clockToleranceSeconds: 5 })

    const { token, expiresAt } = await tokens.sign({ userId: alice, expiresInSeconds: 60 })

    t.strictSame(await tokens.verify(token), { userId: 'alice', expiresAt })
    await t.rejects(tokens.verify(`${token.slice(0, -4)}AAAA`), unauthenticated)
    await t.rejects(tokens.verify((await tokens.sign({ userId: alice, expiresInSeconds: -60 })).token), expired)
  })

  t.test('H101 are not accepted by another server', async (t) => {
    const [one, other] = [createDevelopmentTokens({ clockToleranceSeconds: 5 }), createDevelopmentTokens({ clockToleranceSeconds: 5 })]

    await t.rejects(other.verify((await one.sign({ userId: alice })).token), unauthenticated)
  })
})
