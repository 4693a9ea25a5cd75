import { trace, type Span } from '@opentelemetry/api'
import { attributes } from '../lib/context/attributes.ts'
import { violationChannel, type Violation } from '../lib/context/guard.ts'
import { hops } from '../lib/context/hop.ts'

/** A violation with the hop in which it was noticed: its own place, or for a store's the hop that wanted something of it. */
export interface SeenViolation extends Violation { readonly hop: string | undefined }

/** What guard and inheritance check of this process report from a moment on. */
export interface WatchedViolations {
  readonly violations: readonly SeenViolation[]
  stop (): void
}

export function watchViolations (): WatchedViolations {
  const violations: SeenViolation[] = []
  const note = (message: unknown): void => {
    const violation = message as Violation // the channel carries nothing else
    violations.push({ ...violation, hop: isHop(violation.place) ? violation.place : hopOf(trace.getActiveSpan()) })
  }
  violationChannel.subscribe(note)
  return { violations, stop: () => { violationChannel.unsubscribe(note) } }
}

function isHop (place: string): boolean { return hops.some((hop) => hop === place) }

function hopOf (span: Span | undefined): string | undefined {
  if (span === undefined || !('attributes' in span)) return undefined
  const found = (span.attributes as Readonly<Record<string, unknown>>)[attributes.hop] // a recording span of the SDK has them
  return typeof found === 'string' ? found : undefined
}
