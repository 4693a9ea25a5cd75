/**
 * How the service that is under test is laid out. `embedded`: one process with the embedded database. `postgres`: one process and a database of its
 * own on the server of `TEST_DATABASE_URL`. `cluster`: two gateways and two workers over one such database and the Redis of `TEST_REDIS_URL`.
 */
export type Topology = 'embedded' | 'postgres' | 'cluster'

const needs: Readonly<Record<Topology, readonly string[]>> = {
  embedded: [],
  postgres: ['TEST_DATABASE_URL'],
  cluster: ['TEST_DATABASE_URL', 'TEST_REDIS_URL']
}

/**
 * That of `TEST_TOPOLOGY`; without it `postgres` where `TEST_DATABASE_URL` names a server, else `embedded`. Ends the test file when a server is
 * missing: nothing may pass that was not tested.
 */
export const topology = readTopology(process.env)

function readTopology (env: NodeJS.ProcessEnv): Topology {
  const name = env['TEST_TOPOLOGY'] ?? (env['TEST_DATABASE_URL'] === undefined ? 'embedded' : 'postgres')
  if (!isTopology(name)) throw new Error(`TEST_TOPOLOGY must be one of ${Object.keys(needs).join(', ')}`)
  const missing = needs[name].filter((variable) => (env[variable] ?? '') === '')
  if (missing.length > 0) throw new Error(`TEST_TOPOLOGY=${name} needs ${missing.join(' and ')}: export $(scripts/services.sh env)`)
  return name
}

function isTopology (name: string): name is Topology {
  return Object.hasOwn(needs, name)
}
