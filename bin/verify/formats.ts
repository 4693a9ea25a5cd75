import { createJsonOutput } from '../../verify/output/json-output.ts'
import { createJunitOutput } from '../../verify/output/junit-output.ts'
import type { Output } from '../../verify/output/output.ts'
import { createSarifOutput } from '../../verify/output/sarif-output.ts'
import { createTextOutput, type TextOptions } from '../../verify/output/text-output.ts'

export const formats = ['text', 'json', 'sarif', 'junit'] as const
export type Format = typeof formats[number]

export function createOutput (format: Format, options: TextOptions): Output {
  switch (format) {
    case 'text': return createTextOutput(options)
    case 'json': return createJsonOutput(options)
    case 'sarif': return createSarifOutput(options)
    case 'junit': return createJunitOutput(options)
  }
}
