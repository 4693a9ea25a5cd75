import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import config from '../plugins/config.ts'

const run = promisify(execFile)
const root = new URL('../', import.meta.url)
const kubernetes = new URL('deploy/kubernetes/', root)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')
const onPath = (name: string): boolean => (process.env['PATH'] ?? '').split(':').concat('/usr/sbin').some((folder) => existsSync(`${folder}/${name}`))

interface Service {
  readonly environment?: Readonly<Record<string, string>>
  readonly image: string
  readonly profiles?: readonly string[]
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>> | readonly string[]
  readonly ports?: readonly string[]
  readonly healthcheck?: object
  readonly restart?: string
}

const { services } = parse(read('compose.yaml'), { merge: true }) as { services: Readonly<Record<string, Service>> } // our own file
const ours = Object.entries(services).filter(([, { image }]) => image.startsWith('threadline:'))

/** Every variable that docs/configuration.md tells of, OpenTelemetry's own, and what the commands read beside them. */
const document = read('docs/configuration.md')
const known = (name: string): boolean => document.includes(`\`${name}\``) || name.startsWith('OTEL_') || name === 'THREADLINE_SERVICE_PASSWORD' || name === 'POD_NAME'

/** Whether a server would take it: what compose has not been given is empty there. */
async function refusal (env: Readonly<Record<string, string>>): Promise<string | undefined> {
  const app = Fastify()
  try {
    await app.register(config, { env })
    return undefined
  } catch (error) {
    return String(error)
  } finally {
    await app.close()
  }
}

t.test('compose starts two gateways and two workers, with nothing but the service login', async (t) => {
  const roles = ours.map(([, { environment }]) => environment?.['THREADLINE_ROLE'])
  t.same(roles.filter((role) => role !== undefined).toSorted((a, b) => String(a).localeCompare(String(b))), ['gateway', 'gateway', 'worker', 'worker'])
  for (const [name, { environment = {}, read_only: readOnly, cap_drop: dropped, restart, depends_on: before }] of ours) {
    t.equal(readOnly, true, `${name} writes nothing`)
    t.same(dropped, ['ALL'])
    for (const variable of Object.keys(environment)) t.ok(known(variable), variable)
    if (name === 'migrate') {
      t.match(environment['DATABASE_URL'], /^postgres:\/\/threadline:/)
      t.equal(restart, 'on-failure', 'once')
      continue
    }
    t.match(environment['DATABASE_URL'], /^postgres:\/\/threadline_service:/)
    t.notOk('THREADLINE_SERVICE_PASSWORD' in environment || 'POSTGRES_PASSWORD' in environment, 'knows no owner')
    t.match(before, { migrate: { condition: 'service_completed_successfully' } })
    const filled: Readonly<Record<string, string>> = { AUTH_SECRET: 'a-secret-of-at-least-thirty-two-bytes', AUTH_ISSUER: 'x', AUTH_AUDIENCE: 'y' }
    const given = Object.fromEntries(Object.entries(environment).map(([key, value]) => [
      key, value.replace(/\$\{([A-Z_]+):-([^}]*)\}/g, (_all, variable: string, otherwise: string) => filled[variable] ?? otherwise)
    ]))
    t.equal(await refusal(given), undefined, `${name} can be started so`)
  }
})

t.test('compose without a profile is what `npm run observe` starts, and everything is reached from this machine only', async (t) => {
  t.same(Object.entries(services).filter(([, { profiles }]) => profiles === undefined).map(([name]) => name), ['collector', 'jaeger'])
  for (const [name, { ports = [] }] of Object.entries(services)) for (const port of ports) t.match(port, /^127\.0\.0\.1:/, name)
  for (const name of ['postgres', 'redis']) t.notOk(services[name]?.ports, `${name} has no port outside`)
})

t.test('no secret is in what deploys the service', async (t) => {
  const files = ['compose.yaml', 'Dockerfile', 'deploy/compose/example.env', 'deploy/compose/haproxy.cfg', ...readdirSync(kubernetes).map((name) => `deploy/kubernetes/${name}`)]
  const told = files.flatMap((file) => read(file).split('\n').filter((line) => !/^\s*#/.test(line)).filter((line) => {
    // Whatever has the name of a secret is empty, or a variable; so is a password in an address.
    const [, value = ''] = /^[\s-]*[A-Z_]*(?:PASSWORD|SIGNING_KEYS|AUTH_SECRET|API_KEY|REDISCLI_AUTH)\s*[:=]\s*(.*)$/.exec(line) ?? []
    return !/^("")?$|^\$\{[A-Z_]+:-\}$/.test(value) || /:\/\/[^:/@\s]+:[^$@\s][^@\s]*@/.test(line)
  }))
  t.same(told, [])
  const tracked = read('.dockerignore').split('\n')
  t.equal(tracked.find((line) => !line.startsWith('#')), '*', 'nothing is sent to a build that is not named')
})

interface Container {
  readonly envFrom: readonly object[]
  readonly env: readonly { readonly name: string, readonly value?: string }[]
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } }
  readonly startupProbe: Probe
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
  readonly securityContext: object
  readonly resources: object
}

interface Probe { readonly httpGet: { readonly path: string } }

interface PodSpec {
  readonly containers: readonly [Container]
  readonly terminationGracePeriodSeconds: number
  readonly topologySpreadConstraints: readonly object[]
}

/** What is looked at here, of all kinds together: each has its part of it. */
interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string, readonly namespace?: string }
  readonly data?: Readonly<Record<string, string>>
  readonly stringData?: Readonly<Record<string, string>>
  readonly spec: {
    readonly replicas?: number
    readonly minReplicas: number
    readonly strategy: { readonly rollingUpdate: object }
    readonly template: { readonly spec: PodSpec }
    readonly scaleTargetRef: { readonly name: string }
    readonly selector: object
    readonly sessionAffinity?: string
  }
}

const names = readdirSync(kubernetes).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
const manifests: readonly Manifest[] = names.flatMap((name) => parseAllDocuments(read(`deploy/kubernetes/${name}`)).map((parsed) => parsed.toJS() as Manifest)) // our own files
const ofKind = (kind: string): readonly Manifest[] => manifests.filter((manifest) => manifest.kind === kind)

t.test('each pod runs as nobody, writes nothing, and holds no token', async (t) => {
  const pods = [...ofKind('Deployment'), ...ofKind('Job')]
  t.equal(pods.length, 3)
  for (const { metadata: { name }, spec: { template: { spec } } } of pods) {
    t.match(spec, { automountServiceAccountToken: false, securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } } }, name)
    for (const container of spec.containers) {
      t.match(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }, name)
      t.match(container.resources, { requests: { cpu: String, memory: String }, limits: { memory: String } })
    }
  }
  t.match(read('Dockerfile'), /^USER 65532:65532$/m, 'the same as the image')
})

t.test('a rollout takes no node away before another is ready, and leaves it the time to drain', async (t) => {
  const { closeGraceDelay } = await import('../fastify.config.ts')
  for (const { metadata: { name }, spec } of ofKind('Deployment')) {
    const { spec: { terminationGracePeriodSeconds: grace, containers: [container] } } = spec.template
    // kill: a number of its own, by which each apply takes the autoscaler's away
    t.notOk('replicas' in spec, name)
    t.same(spec.strategy.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 })
    const [, seconds] = container.lifecycle.preStop.exec.command
    t.ok(grace * 1000 > Number(seconds) * 1000 + closeGraceDelay, name)
    t.equal(container.startupProbe.httpGet.path, '/health/live')
    t.equal(container.livenessProbe.httpGet.path, '/health/live', 'a database that is away restarts nothing')
    t.equal(container.readinessProbe.httpGet.path, '/health/ready')
    t.ok(ofKind('PodDisruptionBudget').some((budget) => budget.metadata.name === name))
    t.ok(ofKind('HorizontalPodAutoscaler').some(({ spec: { scaleTargetRef, minReplicas } }) => scaleTargetRef.name === name && minReplicas >= 2), name)
    t.ok(spec.template.spec.topologySpreadConstraints.length > 0)
  }
})

t.test('what the pods are told exists, and a server takes it', async (t) => {
  const [settings] = ofKind('ConfigMap')
  const secrets = new Map(ofKind('Secret').map(({ metadata, stringData = {} }) => [metadata.name, Object.keys(stringData)]))
  const roles: unknown[] = []
  for (const { spec: { template: { spec: { containers: [container] } } } } of ofKind('Deployment')) {
    t.same(container.envFrom, [{ configMapRef: { name: settings?.metadata.name } }, { secretRef: { name: 'threadline' } }])
    const own = Object.fromEntries(container.env.map(({ name, value }) => [name, value ?? 'x']))
    roles.push(own['THREADLINE_ROLE'])
    const env = { ...settings?.data, DATABASE_URL: 'postgres://x@y/z', REDIS_URL: 'redis://x', SIGNING_KEYS: 'k'.repeat(32), ...own }
    for (const variable of [...Object.keys(env), ...secrets.get('threadline') ?? []]) t.ok(known(variable), variable)
    t.equal(await refusal(env), undefined)
  }
  t.same(roles, ['gateway', 'worker'])
  t.same(secrets.get('threadline-owner'), ['DATABASE_URL', 'THREADLINE_SERVICE_PASSWORD'])
  const [service] = ofKind('Service')
  t.same(service?.spec.selector, { 'app.kubernetes.io/name': 'threadline-gateway' }, 'workers serve nobody')
  t.notOk(service?.spec.sessionAffinity)
})

t.test('kustomize puts all of it together', { skip: !onPath('kubectl') && 'There is no kubectl here, and Debian has none that knows these manifests' }, async (t) => {
  const { stdout } = await run('kubectl', ['kustomize', fileURLToPath(kubernetes)], { timeout: 60_000 })
  const built = parseAllDocuments(stdout).map((parsed) => parsed.toJS() as Manifest)

  t.equal(built.length, manifests.length - ofKind('Secret').length, 'everything but the example of secrets')
  for (const { kind, metadata } of built) if (kind !== 'Namespace') t.equal(metadata.namespace, 'threadline', kind)
})

t.test('the balancer takes its configuration, and serves both gateways', { skip: !onPath('haproxy') && 'haproxy is not installed' }, async (t) => {
  const text = read('deploy/compose/haproxy.cfg')
  const folder = t.testdir({ 'haproxy.cfg': text })

  await t.resolves(run('haproxy', ['-c', '-f', `${folder}/haproxy.cfg`], { timeout: 20_000, env: { PATH: `${process.env['PATH']}:/usr/sbin` } }))
  t.same([...text.matchAll(/^ {2}server (\S+) (\S+):3000$/gm)].map(([, name, host]) => [name, host]), [['gateway-1', 'gateway-1'], ['gateway-2', 'gateway-2']])
  t.notMatch(text, /^ *(cookie|stick)/m, 'no sticky sessions')
})
