import { parseArgs } from 'node:util'

type Environment = Readonly<Record<string, string | undefined>>

export interface MigrateCommand {
  readonly databaseUrl: string
  /** Undefined: only the schema. */
  readonly serviceLogin: string | undefined
  readonly password: 'standard input' | { readonly value: string } | undefined
}

export type ParsedMigrate =
  | { readonly kind: 'migrate', readonly command: MigrateCommand }
  | { readonly kind: 'help' }
  | { readonly kind: 'invalid', readonly message: string }

const options = {
  'database-url': { type: 'string' },
  'service-login': { type: 'string' },
  'password-stdin': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false }
} as const

export function parseMigrateArguments (args: readonly string[], environment: Environment): ParsedMigrate {
  try {
    const { values } = parseArgs({ args: [...args], options })
    if (values.help) return { kind: 'help' }
    const databaseUrl = toDatabaseUrl(values['database-url'] ?? environment['DATABASE_URL'])
    const given = environment['THREADLINE_SERVICE_PASSWORD']
    const password = values['password-stdin'] ? 'standard input' as const : given === undefined || given === '' ? undefined : { value: given }
    const serviceLogin = values['service-login'] ?? (password === undefined ? undefined : 'threadline_service')
    return { kind: 'migrate', command: { databaseUrl, serviceLogin, password } }
  } catch (error) {
    return { kind: 'invalid', message: error instanceof Error ? error.message : String(error) }
  }
}

/** Never said in an error: it may hold a password. */
function toDatabaseUrl (text: string | undefined): string {
  if (text === undefined || text === '') throw new Error('Say which database: DATABASE_URL or --database-url <url>. The embedded one migrates itself')
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) throw new Error('The address of a database looks like postgres://login:password@host:5432/name')
  return text
}
