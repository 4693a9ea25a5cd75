/**
 * The whole service, as `durable-turn`, with the check of inheritance switched `on` or `off` by the first argument. The second is the share of traces that
 * are sampled, the third where they are exported to; without them nothing is.
 */
const [check = 'on', share, endpoint] = process.argv.slice(2)
process.env['THREADLINE_TRACE_CHECK'] = check
if (share !== undefined && endpoint !== undefined) {
  process.env['OTEL_TRACES_SAMPLER'] = 'parentbased_traceidratio'
  process.env['OTEL_TRACES_SAMPLER_ARG'] = share
  process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = endpoint
}
await import('./durable-turn.ts')
