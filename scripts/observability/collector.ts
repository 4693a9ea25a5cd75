import { findFreePorts } from './free-ports.ts'
import { commandOf, type ProgramSource } from './programs.ts'
import { startProgram, type RunningProgram } from './running-program.ts'

export interface CollectorOptions {
  readonly source: ProgramSource
  /** Variables that `otel-collector.yaml` reads; ports that are not named are free ones. */
  readonly env: Readonly<Record<string, string>>
}

export interface Collector extends RunningProgram {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly endpoint: string
}

/** The collector as `otel-collector.yaml` says, on loopback. Stopping it sends on what it still holds. */
export async function startCollector ({ source, env: given }: CollectorOptions): Promise<Collector> {
  const [grpc, http, health] = (await findFreePorts(3)).map(String) as [string, string, string] // as many as asked for
  const env = { COLLECTOR_GRPC_PORT: grpc, COLLECTOR_HTTP_PORT: http, COLLECTOR_HEALTH_PORT: health, ...given }
  const program = await startProgram({
    name: 'The collector',
    command: commandOf('otelcol', source, { config: 'otel-collector.yaml', env, folder: given['TRACE_DIR'] }),
    env,
    readyUrl: `http://127.0.0.1:${env.COLLECTOR_HEALTH_PORT}`
  })
  return { ...program, endpoint: `http://127.0.0.1:${env.COLLECTOR_HTTP_PORT}` }
}
