/**
 * Runs one fault of the kit, which its first argument names, and writes all spans that were seen into the file that the second names, as OTLP's
 * JSON. A program, as testing/fault-program.ts is, so that a protection can be taken away from it.
 */
import { writeFile } from 'node:fs/promises'
import { JsonTraceSerializer } from '@opentelemetry/otlp-transformer'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { allFaults } from '../../testing/all-faults.ts'
import { observeFault } from '../../testing/observe-fault.ts'
import { listenToSpans } from '../../testing/span-source.ts'

/** Of OTLP's JSON, what is changed here. */
interface Document { resourceSpans: { resource: unknown }[] }

const [name, file = ''] = process.argv.slice(2)
const fault = allFaults.find((known) => known.name === name)
if (fault === undefined) throw new Error(`There is no fault ${name}`)

const spans: ReadableSpan[] = []
listenToSpans({ ended: (span) => { spans.push(span) } })
await observeFault(fault)

const document = JSON.parse(new TextDecoder().decode(JsonTraceSerializer.serializeRequest(spans))) as Document // what has just been written
// What a process says of itself are this machine's names.
for (const entry of document.resourceSpans) entry.resource = { attributes: [{ key: 'service.name', value: { stringValue: 'threadline' } }] }
await writeFile(file, `${JSON.stringify(document)}\n`)
