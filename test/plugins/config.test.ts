import { inspect } from 'node:util'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import config, { type Config, type ConfigOptions } from '../../plugins/config.ts'

async function load (t: Test, env?: ConfigOptions['env']): Promise<Config> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(config, env === undefined ? {} : { env })
  return app.config
}

const secret = 'a secret that is 32 bytes long, ok'
const auth = { AUTH_SECRET: secret, AUTH_ISSUER: 'https://issuer.example', AUTH_AUDIENCE: 'chat' }

t.test('without any variable everything has its default', async (t) => {
  const values = await load(t, {})

  t.match(values, {
    host: '127.0.0.1', port: 3000, databaseUrl: undefined, dataFolder: './data', authSecret: undefined, authClockToleranceSeconds: 5,
    allowedOrigins: [], model: 'local', agentsFolder: './agents', defaultAgent: 'assistant', maxFrameBytes: 65_536,
    maxConnectionsPerUser: 20, maxInboxFrames: 256, maxOutboxBytes: 1_048_576, messagesPerWindow: 60, messageWindowMs: 10_000,
    heartbeatIntervalMs: 25_000, heartbeatTimeoutMs: 10_000, peerTimeoutMs: 10_000, idleTimeoutMs: 0, maxConcurrentRuns: 256, maxWaitingRunsPerThread: 16,
    runTimeoutMs: 300_000, toolTimeoutMs: 30_000, stepLimit: 16, maxConnectionsTotal: 20_000, shutdownTimeoutMs: 5000
  })
})

t.test('values come from the environment, lists and numbers parsed, and empty ones are absent', async (t) => {
  const values = await load(t, {
    ...auth,
    HOST: '0.0.0.0',
    PORT: '4000',
    DATA_DIR: 'memory',
    MODEL: '',
    OPENAI_API_KEY: '',
    ALLOWED_ORIGINS: ' https://app.example , http://localhost:5173/ ,',
    STEP_LIMIT: 4
  })

  t.match(values, {
    host: '0.0.0.0', port: 4000, model: 'local', openaiApiKey: undefined, stepLimit: 4, authIssuer: 'https://issuer.example', authAudience: 'chat'
  })
  t.equal(values.dataFolder, undefined)
  t.equal(values.authSecret, secret)
  t.strictSame(values.allowedOrigins, ['https://app.example', 'http://localhost:5173'])
})

t.test('the process\'s environment is read when no other is given, and only then', async (t) => {
  const before = process.env['DEFAULT_AGENT']
  process.env['DEFAULT_AGENT'] = 'from-the-process'
  t.teardown(() => {
    delete process.env['DEFAULT_AGENT']
    if (before !== undefined) process.env['DEFAULT_AGENT'] = before
  })

  t.equal((await load(t)).defaultAgent, 'from-the-process')
  t.equal((await load(t, {})).defaultAgent, 'assistant')
})

t.test('a wrong value is refused by its variable\'s name and not shown', async (t) => {
  const wrong: Record<string, readonly [string, Record<string, string>]> = {
    'a port that is text': ['PORT', { PORT: 'hunter2' }],
    'a port out of range': ['PORT', { PORT: '70000' }],
    'half a step': ['STEP_LIMIT', { STEP_LIMIT: '1.5' }],
    'no connection at all': ['MAX_CONNECTIONS_PER_USER', { MAX_CONNECTIONS_PER_USER: '0' }],
    'more than a timer can hold': ['RUN_TIMEOUT_MS', { RUN_TIMEOUT_MS: '2147483648' }],
    'another kind of database': ['DATABASE_URL', { DATABASE_URL: 'mysql://hunter2@host/database' }],
    'an origin with a path': ['ALLOWED_ORIGINS', { ALLOWED_ORIGINS: 'https://app.example/hunter2' }],
    'any origin': ['ALLOWED_ORIGINS', { ALLOWED_ORIGINS: '*' }],
    'the opaque origin': ['ALLOWED_ORIGINS', { ALLOWED_ORIGINS: 'null' }],
    'a key set that is no URL': ['AUTH_JWKS_URL', { ...auth, AUTH_SECRET: '', AUTH_JWKS_URL: 'http://' }],
    'a key set on disk': ['AUTH_JWKS_URL', { ...auth, AUTH_SECRET: '', AUTH_JWKS_URL: 'file:///hunter2' }],
    'a short secret': ['AUTH_SECRET', { ...auth, AUTH_SECRET: 'hunter2' }],
    'a secret beside a key set': ['AUTH_SECRET', { ...auth, AUTH_JWKS_URL: 'https://issuer.example/jwks' }],
    'no issuer': ['AUTH_ISSUER', { ...auth, AUTH_ISSUER: '' }],
    'no audience': ['AUTH_AUDIENCE', { ...auth, AUTH_AUDIENCE: '' }],
    'an issuer without keys': ['AUTH_ISSUER', { AUTH_ISSUER: 'https://issuer.example', AUTH_AUDIENCE: 'chat' }]
  }

  for (const [fault, [variable, env]] of Object.entries(wrong)) {
    const error: unknown = await load(t, env).catch((error: unknown) => error)
    t.match(error, { code: 'THREADLINE_INVALID_CONFIGURATION', field: variable, message: new RegExp(`^${variable} `) }, fault)
    t.notMatch(inspect(error), /hunter2/, fault)
  }
})

t.test('where one of several words is asked for, they are told', async (t) => {
  await t.rejects(load(t, { THREADLINE_ROLE: 'workers' }), { message: 'THREADLINE_ROLE must be one of all, gateway, worker' })
  await t.rejects(load(t, { THREADLINE_CANARY: 'yes' }), { message: 'THREADLINE_CANARY must be one of on, off' })
})

t.test('keys for signing are told from the word for the one that the database keeps', async (t) => {
  const own = 'a key that is as long as a key has to be'

  t.match(await load(t, { SIGNING_KEYS: `database, ${own}` }), { signingKeys: ['database', own], ownSigningKey: own })
  t.match(await load(t, { SIGNING_KEYS: 'database' }), { signingKeys: ['database'], ownSigningKey: undefined })
  await t.rejects(load(t, { SIGNING_KEYS: `${own},data` }), { code: 'THREADLINE_INVALID_CONFIGURATION', field: 'SIGNING_KEYS' })
})

t.test('the configuration cannot be changed', async (t) => {
  const values = await load(t, auth)

  t.throws(() => { Object.assign(values, { port: 1 }) }, TypeError)
  t.throws(() => { Object.assign(values, { authSecret: 'x' }) }, TypeError)
  t.throws(() => { Object.assign(values.allowedOrigins, ['https://evil.example']) }, TypeError)
})

t.test('no secret is shown by logging or inspecting the whole configuration', async (t) => {
  const keys = { OPENAI_API_KEY: 'sk-hunter2', ANTHROPIC_API_KEY: 'sk-hunter2', GOOGLE_API_KEY: 'sk-hunter2', OPENAI_COMPATIBLE_API_KEY: 'sk-hunter2' }
  const values = await load(t, { ...auth, AUTH_SECRET: `hunter2${secret}`, DATABASE_URL: 'postgres://threadline:hunter2@host/database', ...keys })

  for (const text of [JSON.stringify(values), inspect(values), JSON.stringify({ ...values })]) t.notMatch(text, /hunter2/)
  t.match([values.authSecret, values.databaseUrl, values.openaiApiKey, values.anthropicApiKey, values.googleApiKey, values.openaiCompatibleApiKey],
    Array.from({ length: 6 }, () => /hunter2/))
})
