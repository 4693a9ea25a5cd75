import { envSchema } from 'env-schema'
import fp from 'fastify-plugin'
import { Type, type Static, type TOptional, type TSchema } from 'typebox'
import { storedKeyName } from '../lib/context/signature.ts'
import { ThreadlineError } from '../lib/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    config: Config
  }
}

export interface ConfigOptions {
  /** Read instead of `process.env`, by the same names. */
  readonly env?: Readonly<Record<string, string | number | undefined>>
}

/** What a value may be is written here once: variable, limits, default and type. */
const settings = {
  host: setting('HOST', Type.String({ default: '127.0.0.1' })),
  port: setting('PORT', Type.Integer({ default: 3000, minimum: 0, maximum: 65_535 })),

  databaseUrl: setting('DATABASE_URL', Type.Optional(Type.String({ pattern: '^postgres(ql)?://' }))),
  dataDir: setting('DATA_DIR', Type.String({ default: './data' })),
  /** Connections of this process to the server of `DATABASE_URL`, beside two for notifications and one for leases. */
  databasePoolSize: setting('DATABASE_POOL_SIZE', count(10)),
  /** Where notifications are listened to: for a `DATABASE_URL` behind a pooler, which lends its connections for a transaction only. */
  databaseListenUrl: setting('DATABASE_LISTEN_URL', Type.Optional(Type.String({ pattern: '^postgres(ql)?://' }))),
  redisUrl: setting('REDIS_URL', Type.Optional(Type.String({ pattern: '^rediss?://' }))),
  redisCaFile: setting('REDIS_CA_FILE', Type.Optional(Type.String())),

  role: setting('THREADLINE_ROLE', Type.Union([Type.Literal('all'), Type.Literal('gateway'), Type.Literal('worker')], { default: 'all' })),
  signingKeyList: setting('SIGNING_KEYS', Type.String({ default: '' })),
  leaseMs: setting('LEASE_MS', milliseconds(9_000, 300)),
  maxRunAttempts: setting('MAX_RUN_ATTEMPTS', count(3)),
  /** How often the log is asked for events that no hint has told of, and how often while hints are lost for certain. */
  pollIntervalMs: setting('POLL_INTERVAL_MS', milliseconds(2_000, 10)),
  doubtfulPollIntervalMs: setting('DOUBTFUL_POLL_INTERVAL_MS', milliseconds(250, 10)),

  authJwksUrl: setting('AUTH_JWKS_URL', Type.Optional(Type.String({ pattern: '^https?://' }))),
  authSecret: setting('AUTH_SECRET', Type.Optional(Type.String())),
  authIssuer: setting('AUTH_ISSUER', Type.Optional(Type.String())),
  authAudience: setting('AUTH_AUDIENCE', Type.Optional(Type.String())),
  authClockToleranceSeconds: setting('AUTH_CLOCK_TOLERANCE', Type.Integer({ default: 5, minimum: 0, maximum: 300 })),
  allowedOriginList: setting('ALLOWED_ORIGINS', Type.String({ default: '' })),

  model: setting('MODEL', Type.String({ default: 'local' })),
  openaiCompatibleBaseUrl: setting('OPENAI_COMPATIBLE_BASE_URL', Type.Optional(Type.String({ pattern: '^https?://' }))),
  openaiCompatibleName: setting('OPENAI_COMPATIBLE_NAME', Type.String({ default: 'openai-compatible' })),
  openaiCompatibleApiKey: setting('OPENAI_COMPATIBLE_API_KEY', Type.Optional(Type.String())),
  openaiApiKey: setting('OPENAI_API_KEY', Type.Optional(Type.String())),
  anthropicApiKey: setting('ANTHROPIC_API_KEY', Type.Optional(Type.String())),
  googleApiKey: setting('GOOGLE_API_KEY', Type.Optional(Type.String())),

  agentsFolder: setting('AGENTS_DIR', Type.String({ default: './agents' })),
  defaultAgent: setting('DEFAULT_AGENT', Type.String({ default: 'assistant' })),
  maxConcurrentRuns: setting('MAX_CONCURRENT_RUNS', count(256)),
  maxWaitingRunsPerThread: setting('MAX_WAITING_RUNS_PER_THREAD', count(16)),
  runTimeoutMs: setting('RUN_TIMEOUT_MS', milliseconds(300_000)),
  stepTimeoutMs: setting('STEP_TIMEOUT_MS', milliseconds(120_000)),
  toolTimeoutMs: setting('TOOL_TIMEOUT_MS', milliseconds(30_000)),
  stepLimit: setting('STEP_LIMIT', count(16)),
  titleModel: setting('TITLE_MODEL', Type.String({ default: 'default' })),
  titleTimeoutMs: setting('TITLE_TIMEOUT_MS', milliseconds(5_000)),

  maxFrameBytes: setting('MAX_FRAME_BYTES', count(64 * 1024)),
  maxInboxFrames: setting('MAX_INBOX_FRAMES', count(256)),
  maxOutboxBytes: setting('MAX_OUTBOX_BYTES', count(1024 * 1024)),
  maxConnectionsPerUser: setting('MAX_CONNECTIONS_PER_USER', count(20)),
  maxConnectionsTotal: setting('MAX_CONNECTIONS_TOTAL', count(20_000)),
  messagesPerWindow: setting('MESSAGES_PER_WINDOW', count(60)),
  messageWindowMs: setting('MESSAGE_WINDOW_MS', milliseconds(10_000)),
  heartbeatIntervalMs: setting('HEARTBEAT_INTERVAL_MS', milliseconds(25_000)),
  heartbeatTimeoutMs: setting('HEARTBEAT_TIMEOUT_MS', milliseconds(10_000)),
  /** After that silence another node's connections do not count any more. */
  peerTimeoutMs: setting('PEER_TIMEOUT_MS', milliseconds(10_000, 1_000)),
  /** 0: an idle socket stays open. */
  idleTimeoutMs: setting('IDLE_TIMEOUT_MS', milliseconds(0, 0)),
  shutdownTimeoutMs: setting('SHUTDOWN_TIMEOUT_MS', milliseconds(5000)),

  threadRetentionDays: setting('THREAD_RETENTION_DAYS', days(30, 1)),
  /** 0: events are kept for ever. */
  eventRetentionDays: setting('EVENT_RETENTION_DAYS', days(0, 0)),
  upkeepIntervalMs: setting('UPKEEP_INTERVAL_MS', milliseconds(3_600_000)),

  canary: setting('THREADLINE_CANARY', Type.Union([Type.Literal('on'), Type.Literal('off')], { default: 'off' })),
  canaryIntervalMs: setting('THREADLINE_CANARY_INTERVAL_MS', milliseconds(60_000))
}

type ValueOf<Schema extends TSchema> = Static<Schema> | (Schema extends TOptional ? undefined : never)
type Settings = { readonly [Name in keyof typeof settings]: ValueOf<(typeof settings)[Name]['schema']> }

/**
 * The configuration of one server: checked, frozen, and read nowhere else from the environment. Secrets are not enumerable, so
 * that logging, serialising or inspecting the whole object does not show them.
 */
export interface Config extends Omit<Settings, 'dataDir' | 'allowedOriginList' | 'signingKeyList'> {
  /** Where the embedded database lives; undefined keeps it in memory. */
  readonly dataFolder: string | undefined
  /** Serialised origins (RFC 6454, section 6.2) of the pages that may connect. */
  readonly allowedOrigins: readonly string[]
  /** The first one signs what goes from node to node, all of them verify it. `storedKeyName` stands for the one that the database keeps, which is taken without any. */
  readonly signingKeys: readonly string[]
  /** The first of them that the database does not keep. */
  readonly ownSigningKey: string | undefined
}

const secrets: readonly (keyof Config)[] = [
  'databaseUrl', 'databaseListenUrl', 'redisUrl', 'signingKeys', 'ownSigningKey', 'authSecret', 'openaiCompatibleApiKey', 'openaiApiKey', 'anthropicApiKey', 'googleApiKey'
]

/**
 * Reads the configuration from the environment, or from `env` when it is given, and then from there only. An empty value counts as
 * absent. Throws `THREADLINE_INVALID_CONFIGURATION` that names the variable and never its value.
 */
export default fp(async function config (app, { env = process.env }: ConfigOptions) {
  app.decorate('config', readConfig(env))
}, { name: 'config', fastify: '5.x' })

function readConfig (env: NonNullable<ConfigOptions['env']>): Config {
  const { dataDir, allowedOriginList, signingKeyList, ...values } = readSettings(env)
  checkAuthentication(values)
  checkNodes(values)
  const signingKeys = listOf(signingKeyList).map(toSigningKey)
  const config: Config = {
    ...values,
    dataFolder: dataDir === 'memory' ? undefined : dataDir,
    allowedOrigins: Object.freeze(listOf(allowedOriginList).map(toOrigin)),
    signingKeys: Object.freeze(signingKeys),
    ownSigningKey: signingKeys.find((key) => key !== storedKeyName)
  }
  for (const name of secrets) Object.defineProperty(config, name, { enumerable: false })
  return Object.freeze(config)
}

function readSettings (env: NonNullable<ConfigOptions['env']>): Settings {
  const entries = Object.entries(settings)
  const schema = Type.Object(Object.fromEntries(entries.map(([, { variable, schema }]) => [variable, schema])))
  const data = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
  const values = validate(schema, data)
  // the schema that has just been satisfied is built of the same table as the type
  return Object.fromEntries(entries.map(([name, { variable }]) => [name, values[variable]])) as Settings
}

/** Where one of several words is asked for, there is an error for each of them. */
interface SchemaError {
  readonly instancePath: string
  readonly message?: string
  readonly params?: { readonly allowedValue?: string }
}

function validate (schema: TSchema, data: Record<string, unknown>): Record<string, unknown> {
  try {
    return envSchema({ schema, data, env: false })
  } catch (error) {
    const { errors = [] } = error as { errors?: readonly SchemaError[] } // what env-schema adds to its error
    const [first] = errors
    if (first === undefined) throw error
    const words = errors.flatMap(({ instancePath, params }) => instancePath === first.instancePath ? params?.allowedValue ?? [] : [])
    throw invalid(first.instancePath.slice(1), words.length > 0 ? `must be one of ${words.join(', ')}` : first.message ?? 'is not valid')
  }
}

function checkAuthentication (config: Pick<Settings, 'authJwksUrl' | 'authSecret' | 'authIssuer' | 'authAudience'>): void {
  const { authJwksUrl, authSecret, authIssuer, authAudience } = config
  const development = authJwksUrl === undefined && authSecret === undefined
  if (authJwksUrl !== undefined && authSecret !== undefined) throw invalid('AUTH_SECRET', 'cannot be set together with AUTH_JWKS_URL')
  if (authJwksUrl !== undefined && !URL.canParse(authJwksUrl)) throw invalid('AUTH_JWKS_URL', 'must be a URL')
  if (authSecret !== undefined && Buffer.byteLength(authSecret) < 32) throw invalid('AUTH_SECRET', 'must have at least 32 bytes')
  for (const [variable, value] of [['AUTH_ISSUER', authIssuer], ['AUTH_AUDIENCE', authAudience]] as const) {
    // Alone they would look like authentication while the server signs tokens for everybody.
    if (development && value !== undefined) throw invalid(variable, 'needs AUTH_JWKS_URL or AUTH_SECRET')
    if (!development && value === undefined) throw invalid(variable, 'is required with AUTH_JWKS_URL or AUTH_SECRET')
  }
}

type Nodes = Pick<Settings, 'databaseUrl' | 'databaseListenUrl' | 'redisUrl' | 'redisCaFile' | 'role'>

/** What lies in a folder is this process's alone: nobody else could take its runs, or tell its events. */
function checkNodes ({ databaseUrl, databaseListenUrl, redisUrl, redisCaFile, role }: Nodes): void {
  if (redisCaFile !== undefined && redisUrl?.startsWith('rediss:') !== true) throw invalid('REDIS_CA_FILE', 'needs a REDIS_URL that begins with rediss://')
  if (databaseUrl !== undefined) return
  if (role !== 'all') throw invalid('THREADLINE_ROLE', 'other than all needs DATABASE_URL')
  if (databaseListenUrl !== undefined) throw invalid('DATABASE_LISTEN_URL', 'needs DATABASE_URL')
  if (redisUrl !== undefined) throw invalid('REDIS_URL', 'needs DATABASE_URL')
}

function toSigningKey (text: string): string {
  if (text !== storedKeyName && Buffer.byteLength(text) < 32) throw invalid('SIGNING_KEYS', 'must have at least 32 bytes each')
  return text
}

function toOrigin (text: string): string {
  const url = URL.parse(text)
  if (url === null || url.origin === 'null' || url.href !== `${url.origin}/`) {
    throw invalid('ALLOWED_ORIGINS', 'must be a list of origins such as https://chat.example.com')
  }
  return url.origin
}

function listOf (text: string): string[] {
  return text.split(',').map((item) => item.trim()).filter((item) => item !== '')
}

function invalid (variable: string, problem: string): ThreadlineError {
  return new ThreadlineError('THREADLINE_INVALID_CONFIGURATION', `${variable} ${problem}`, { field: variable })
}

function setting<Schema extends TSchema> (variable: string, schema: Schema): { readonly variable: string, readonly schema: Schema } {
  return { variable, schema }
}

function count (value: number) {
  return Type.Integer({ default: value, minimum: 1, maximum: Number.MAX_SAFE_INTEGER })
}

/** At most what a timer can hold: Node fires a longer one at once. */
function milliseconds (value: number, minimum = 1) {
  return Type.Integer({ default: value, minimum, maximum: 2_147_483_647 })
}

/** At most a century, so that it is counted back to a time that every clock and database knows. */
function days (value: number, minimum: number) {
  return Type.Integer({ default: value, minimum, maximum: 36_500 })
}
