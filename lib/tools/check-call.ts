import { Compile, type Validator } from 'typebox/compile'
import { ThreadlineError } from '../errors.ts'
import type { Tool } from './define-tool.ts'

/** Throws `THREADLINE_TOOL_DENIED` unless the active user may use the tool, and `THREADLINE_BAD_REQUEST` unless its schema allows this input. */
export async function checkCall (tool: Tool, input: unknown): Promise<void> {
  if (tool.permit !== undefined && !await tool.permit()) throw new ThreadlineError('THREADLINE_TOOL_DENIED')
  const validator = validatorOf(tool)
  if (!validator.Check(input)) throw new ThreadlineError('THREADLINE_BAD_REQUEST', describeMismatch(validator, input))
}

const validators = new WeakMap<Tool, Validator>()

function validatorOf (tool: Tool): Validator {
  const validator = validators.get(tool) ?? Compile(tool.input)
  validators.set(tool, validator)
  return validator
}

function describeMismatch (validator: Validator, input: unknown): string {
  const [first] = validator.Errors(input)
  return `The tool's parameters do not match its schema: ${first?.instancePath ?? ''} ${first?.message ?? ''}`.trim()
}
