/**
 * The preload: `node --import ./telemetry.ts …`. It runs before anything else is loaded, because an instrumentation can only
 * wrap what is loaded after it.
 */
import { registerContextManager } from './lib/context/context-manager.ts'
import { startTelemetry } from './lib/telemetry/start-telemetry.ts'

// First and on its own: identity must not depend on an SDK that may be switched off.
registerContextManager()

await startTelemetry()
