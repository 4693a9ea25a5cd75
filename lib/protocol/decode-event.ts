import { Compile, type Validator } from 'typebox/compile'
import { eventSchemas, isEventType, type ServerEvent } from './events.ts'

const validators = new Map<string, Validator>()

/** Whether something that another process has written is an event as a client may be sent it. Fields that are not known here are let through. */
export function isServerEvent (value: unknown): value is ServerEvent {
  if (typeof value !== 'object' || value === null || !('type' in value) || !isEventType(value.type)) return false
  return validatorOf(value.type)?.Check(value) === true
}

/** Compiled when it is first needed: most never are. */
function validatorOf (type: string): Validator | undefined {
  const schema = eventSchemas[type]
  const known = validators.get(type)
  if (known !== undefined || schema === undefined) return known
  const validator = Compile(schema)
  validators.set(type, validator)
  return validator
}
