import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The project's root, with a slash at its end. */
export const root = fileURLToPath(new URL('../../', import.meta.url))

/** Where the collector and Jaeger come from. */
export type ProgramSource = 'docker' | 'binaries'

const installer = `${root}scripts/install-observability.sh`

/** Builds the binaries first where Go is present and they are missing, which takes minutes. Undefined without Docker's engine and without Go. */
export function findPrograms (): ProgramSource | undefined {
  if (succeeds(installer, ['check'])) return 'binaries'
  if (dockerAnswers()) return 'docker'
  if (!succeeds('go', ['version'])) return undefined
  execFileSync(installer, { stdio: ['ignore', 'inherit', 'inherit'] })
  return 'binaries'
}

/** Docker's engine, and not only its client. */
export function dockerAnswers (): boolean {
  return succeeds('docker', ['info'])
}

export function composeAnswers (): boolean {
  return dockerAnswers() && succeeds('docker', ['compose', 'version'])
}

export interface Invocation {
  /** In the project's root. */
  readonly config: string
  readonly env: Readonly<Record<string, string>>
  /** Where it may write. */
  readonly folder?: string | undefined
  /** Only looks at its configuration, and says by its exit code whether that is right. */
  readonly validate?: boolean
}

/** How `otelcol` or `jaeger` is run. */
export function commandOf (
  program: 'otelcol' | 'jaeger', source: ProgramSource, { config, env, folder, validate = false }: Invocation
): readonly [string, ...string[]] {
  const verb = validate ? ['validate'] : []
  if (source === 'binaries') return [`${root}.run/bin/${program}`, ...verb, '--config', `${root}${config}`]
  return [
    'docker', 'run', '--rm', '--network', 'host', '--user', `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`,
    ...Object.keys(env).flatMap((name) => ['--env', name]),
    '--volume', `${root}${config}:/etc/${config}:ro`, ...(folder === undefined ? [] : ['--volume', `${folder}:${folder}`]),
    imageOf(program), ...verb, '--config', `/etc/${config}`
  ]
}

/** As `compose.yaml` names it. */
function imageOf (program: 'otelcol' | 'jaeger'): string {
  const service = program === 'otelcol' ? 'opentelemetry-collector-contrib' : 'jaeger'
  const image = new RegExp(`image: (\\S+/${service}:\\S+)`).exec(readFileSync(`${root}compose.yaml`, 'utf8'))?.[1]
  if (image === undefined) throw new Error(`compose.yaml names no image of ${service}`)
  return image
}

function succeeds (file: string, args: readonly string[]): boolean {
  try {
    execFileSync(file, args, { stdio: 'ignore', timeout: 10_000 })
    return true
  } catch {
    return false // not there, or it says no
  }
}
