import { once } from 'node:events'
import { connect } from 'node:net'
import { findingsOf, type Finding } from '../finding.ts'
import { reasonOf } from '../reason-of.ts'
import { within } from '../within.ts'

const { ok, failed, warning } = findingsOf('Telemetry')
const waitMs = 3_000

/** Whether somebody listens where spans are sent to. */
export async function reachTelemetry (environment: Readonly<Record<string, string | undefined>>): Promise<readonly Finding[]> {
  if (environment['OTEL_SDK_DISABLED'] === 'true') return [ok('is switched off')]
  const endpoint = environment['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] ?? environment['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? ''
  if (endpoint === '') return [ok('is sent nowhere: no OTEL_EXPORTER_OTLP_ENDPOINT')]
  const url = URL.parse(endpoint)
  if (url === null || url.hostname === '') return [failed('OTEL_EXPORTER_OTLP_ENDPOINT is no address', 'It looks like http://collector:4318')]
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  const socket = connect(port, url.hostname.replace(/^\[|\]$/g, ''))
  try {
    await within(waitMs, once(socket, 'connect'))
    return [ok(`is sent to ${url.host}, where somebody listens`)]
  } catch (error) {
    return [warning(`nobody listens at ${url.host}: ${reasonOf(error)}`, 'Start the collector, or check OTEL_EXPORTER_OTLP_ENDPOINT. The service works without, and its spans are lost')]
  } finally {
    socket.on('error', () => { /* told already */ })
    socket.destroy()
  }
}
