import fc from 'fast-check'
import t from 'tap'
import { maxShownCharacters, redact, redacted } from '../../lib/emitter/redact.ts'

const secretNames = [
  'password', 'Password', 'PASSWORD', 'password1', 'new_password_confirmation', 'passwordHash', 'passwd', 'passphrase', 'passcode', 'pwd', 'dbPwd',
  'token', 'access_token', 'accessToken', 'refresh-token', 'id_token', 'X-CSRF-Token', 'tokens', 'token2', 'minted_token', 'minio_token',
  'country_token', 'inputToken', 'secret', 'client_secret', 'secretAccessKey', 'secret_value', 'secrets', 'api_key', 'apiKey', 'apikey', 'API-KEY', 'x-api-key',
  'api_key_2', 'apiKeyHeader', 'key', 'keys', 'private_key', 'privateKeyPem', 'authorization', 'Authorization', 'Proxy-Authorization',
  'authorizationHeader', 'auth', 'basic_auth', 'credential', 'credentials', 'awsCredentials', 'cookie', 'Set-Cookie', 'cookies', 'session',
  'session_id', 'sessionId', 'signature', 'X-Hub-Signature', 'jwt', 'bearer', 'password:', 'token[]'
]
const harmlessNames = [
  'query', 'city', 'name', 'path', 'max_tokens', 'maxTokens', 'max_output_tokens', 'inputTokens', 'output_tokens', 'total_tokens', 'prompt_tokens',
  'num_tokens', 'token_count', 'primary_key', 'foreignKey', 'sort_key', 'public_key', 'keyword', 'keywords', 'keyboard', 'author', 'authority', 'compass',
  'passenger', 'tokenizer', 'passport_country'
]

t.test('F83 the values of names that tell a secret are redacted, in whatever spelling', async (t) => {
  for (const name of secretNames) {
    t.strictSame(redact({ [name]: 'hunter2', other: 1 }), { [name]: redacted, other: 1 }, name)
  }
})

t.test('F83 names that only look alike are shown', async (t) => {
  for (const name of harmlessNames) t.strictSame(redact({ [name]: 7 }), { [name]: 7 }, name)
})

t.test('F83 a secret is redacted at any depth, in lists, maps and what an object says of itself, and as a whole', async (t) => {
  const shown = redact({
    user: { login: 'alice', password: { old: 'a', new: ['b'] } },
    servers: [{ host: 'a', token: 7 }, new Map<string, unknown>([['api_key', 'x'], ['region', 'eu']])],
    self: { toJSON: () => ({ secret: 'x', open: true }) },
    nothing: { token: null }
  })

  t.strictSame(shown, {
    user: { login: 'alice', password: redacted },
    servers: [{ host: 'a', token: redacted }, { api_key: redacted, region: 'eu' }],
    self: { secret: redacted, open: true },
    nothing: { token: redacted }
  })
})

t.test('F83 long texts, lists and names are cut, and say so', async (t) => {
  const long = 'x'.repeat(maxShownCharacters + 1)
  const cut = `${'x'.repeat(maxShownCharacters)}… (${maxShownCharacters + 1} characters)`

  t.equal(redact('x'.repeat(maxShownCharacters)), 'x'.repeat(maxShownCharacters))
  t.strictSame(redact({ text: long, list: [long] }), { text: cut, list: [cut] })
  t.strictSame(redact({ [long]: 1 }), { [cut]: 1 })
  t.same((redact(Array.from({ length: 60 }, (_, index) => index)) as unknown[]).slice(-2), [49, '… 10 more'])
  t.equal(Object.keys(redact(Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`a${index}`, 1]))) as object).length, 50)
  t.ok((redact(`${'x'.repeat(maxShownCharacters - 1)}👩`) as string).isWellFormed(), 'no half of a pair is left')
})

t.test('F83 what was redacted is a copy: the tool is given the value itself', async (t) => {
  const parameters = { password: 'hunter2', list: [{ token: 'x' }] }

  redact(parameters)

  t.strictSame(parameters, { password: 'hunter2', list: [{ token: 'x' }] })
})

t.test('F83 whatever it stands in, a secret is never shown', async (t) => {
  const mark = 'hunter2'
  const secret = fc.oneof(
    fc.constant<unknown>(mark), fc.constant([mark]), fc.constant({ inside: { mark } }), fc.constant(new Map([['a', mark]])),
    fc.constant(new Set([mark])), fc.constant({ toJSON: () => mark }), fc.constant(new Error(mark))
  )
  const holder = fc.tuple(fc.constantFrom(...secretNames), secret, fc.dictionary(fc.constantFrom('a', 'b'), fc.integer()))
    .chain(([name, value, others]) => fc.constantFrom<unknown>({ ...others, [name]: value }, new Map(Object.entries({ ...others, [name]: value }))))
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 }, holder, tie('tree').map((inner) => [1, inner]), tie('tree').map((inner) => ({ inner, more: null })),
      tie('tree').map((inner) => new Map([['inner', inner]])), tie('tree').map((inner) => new Set([inner])), tie('tree').map((inner) => ({ toJSON: () => inner }))
    )
  }))

  fc.assert(fc.property(tree, (value) => {
    const text = JSON.stringify(redact(value))
    return !text.includes(mark) && text.includes(redacted)
  }), { numRuns: 1_000 })
  t.pass()
})

t.test('F83 whatever is shown, no text in it is longer than it may be', async (t) => {
  const text = fc.string({ maxLength: 600, size: 'max' })

  fc.assert(fc.property(fc.dictionary(text, fc.oneof(text, fc.array(text, { maxLength: 60, size: 'max' })), { maxKeys: 3 }), (value) =>
    textsOf(redact(value)).every((shown) => shown.length <= maxShownCharacters + 30)), { numRuns: 50 })
  t.pass()
})

function textsOf (value: unknown): readonly string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.entries(value).flat().flatMap(textsOf) : []
}
