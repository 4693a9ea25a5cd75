import { findFreePorts } from './free-ports.ts'
import { commandOf, type ProgramSource } from './programs.ts'
import { startProgram, type RunningProgram } from './running-program.ts'

export interface Jaeger extends RunningProgram {
  /** Of its page and its API. */
  readonly url: string
  /** For `JAEGER_ENDPOINT` of the collector. */
  readonly receiver: string
}

/** Jaeger as `jaeger.yaml` says, on loopback; ports that are not named are free ones. */
export async function startJaeger ({ source, env: given = {} }: { source: ProgramSource, env?: Readonly<Record<string, string>> }): Promise<Jaeger> {
  const [receiver, query, queryGrpc] = (await findFreePorts(3)).map(String) as [string, string, string] // as many as asked for
  const env = { JAEGER_GRPC_PORT: receiver, JAEGER_QUERY_PORT: query, JAEGER_QUERY_GRPC_PORT: queryGrpc, ...given }
  const url = `http://127.0.0.1:${env.JAEGER_QUERY_PORT}`
  const program = await startProgram({
    name: 'Jaeger',
    command: commandOf('jaeger', source, { config: 'jaeger.yaml', env }),
    env,
    readyUrl: `${url}/api/services`,
    // It waits ten seconds for whoever has asked it, and has nothing to lose: its traces are in memory.
    stopLimitMs: 500
  })
  return { ...program, url, receiver: `127.0.0.1:${env.JAEGER_GRPC_PORT}` }
}
