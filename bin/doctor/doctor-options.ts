import { parseArgs } from 'node:util'

export interface DoctorCommand {
  readonly databaseUrl: string | undefined
  readonly redisUrl: string | undefined
  readonly isJson: boolean
}

export type ParsedDoctor =
  | { readonly kind: 'doctor', readonly command: DoctorCommand }
  | { readonly kind: 'help' }
  | { readonly kind: 'invalid', readonly message: string }

const options = {
  'database-url': { type: 'string' },
  'redis-url': { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false }
} as const

export function parseDoctorArguments (args: readonly string[]): ParsedDoctor {
  try {
    const { values } = parseArgs({ args: [...args], options })
    if (values.help) return { kind: 'help' }
    return { kind: 'doctor', command: { databaseUrl: values['database-url'], redisUrl: values['redis-url'], isJson: values.json } }
  } catch (error) {
    return { kind: 'invalid', message: error instanceof Error ? error.message : String(error) }
  }
}
