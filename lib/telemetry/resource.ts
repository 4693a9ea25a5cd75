import {
  defaultResource, hostDetector, osDetector, processDetector, resourceAttributesEnvDetector, resourceFromAttributes,
  serviceInstanceIdDetector, serviceNameEnvDetector, type Resource, type ResourceDetector
} from '@opentelemetry/resources'
import { ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions'
import packageJson from '../../package.json' with { type: 'json' }

/** What every span says of the process, before `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`. */
export function createResource (): Resource {
  return defaultResource().merge(resourceFromAttributes({
    [ATTR_SERVICE_NAME]: packageJson.name,
    [ATTR_SERVICE_VERSION]: packageJson.version
  }))
}

/**
 * The SDK's detectors without what it should not send: `process.command_args` and its kin hold paths and whatever secret was
 * passed as a flag, `process.owner` an account, `host.id` the machine.
 */
export const resourceDetectors: readonly ResourceDetector[] = [
  serviceInstanceIdDetector,
  only(processDetector, ['process.pid', 'process.runtime.name', 'process.runtime.version']),
  only(hostDetector, ['host.name', 'host.arch']),
  osDetector,
  resourceAttributesEnvDetector,
  serviceNameEnvDetector
]

function only (detector: ResourceDetector, names: readonly string[]): ResourceDetector {
  return {
    detect: (config) => {
      const found = Object.entries(detector.detect(config).attributes ?? {})
      return { attributes: Object.fromEntries(found.filter(([name]) => names.includes(name))) }
    }
  }
}
