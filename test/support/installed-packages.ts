/** The part of `package-lock.json`, and of npm's record of what it installed, that is read here. */
export interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string }>>
}

interface InstalledPackage {
  readonly name: string
  readonly version: string
  readonly path: string
}

/**
 * The packages of OpenTelemetry that carry the version of the SDK and share objects with each other. Those with versions of
 * their own (instrumentations, exporters, semantic conventions) are not among them.
 */
const sdkPackages = /^@opentelemetry\/(core|resources|context-async-hooks|sdk-trace.*|sdk-metrics|propagator-.*|exporter-zipkin)$/

/** What is wrong with the OpenTelemetry in a lock: more or fewer than one API, or two lines of the SDK. */
export function findTelemetryProblems (lock: Lock): readonly string[] {
  const installed = readPackages(lock)
  const apis = installed.filter(({ name }) => name === '@opentelemetry/api')
  const sdks = installed.filter(({ name }) => sdkPackages.test(name))
  const lines = Map.groupBy(sdks, ({ version }) => version.split('.')[0])

  return [
    ...(apis.length === 1 ? [] : [`${apis.length} copies of @opentelemetry/api: ${describe(apis)}`]),
    ...(lines.size <= 1 ? [] : [`the SDK in ${lines.size} lines: ${describe(sdks)}`])
  ]
}

function readPackages ({ packages }: Lock): readonly InstalledPackage[] {
  return Object.entries(packages).flatMap(([path, { version }]) => {
    const [, name] = /.*node_modules\/(.+)$/.exec(path) ?? []
    return name === undefined || version === undefined ? [] : [{ name, version, path }]
  })
}

function describe (packages: readonly InstalledPackage[]): string {
  return packages.map(({ path, version }) => `${path}@${version}`).join(', ')
}
