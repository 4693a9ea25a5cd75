import { context } from '@opentelemetry/api'
import { W3CBaggagePropagator } from '@opentelemetry/core'

/** Where baggage may go: `host` for any port of a host, `host:port` for one. Compared as URLs are, so case does not matter. */
export type BaggageHosts = ReadonlySet<string>

const propagator = new W3CBaggagePropagator()

/** From a comma-separated list; no list allows no host. */
export function parseBaggageHosts (list: string | undefined): BaggageHosts {
  return new Set((list ?? '').split(',').map((host) => host.trim().toLowerCase()).filter((host) => host !== ''))
}

/**
 * The `baggage` header (W3C Baggage) of the active context for a request to `target`, or undefined when there is none or the host
 * is not on the list: a user id is nothing that a model vendor has to know.
 */
export function baggageHeaderFor (target: URL, hosts: BaggageHosts): string | undefined {
  const port = target.port || (target.protocol === 'https:' ? '443' : '80')
  if (!hosts.has(target.hostname) && !hosts.has(`${target.hostname}:${port}`)) return undefined
  const carrier: { baggage?: string } = {}
  propagator.inject(context.active(), carrier, { set: (headers, _name, value) => { headers.baggage = value } })
  return carrier.baggage
}
