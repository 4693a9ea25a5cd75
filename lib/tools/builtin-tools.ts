import { Type } from 'typebox'
import { defineTool, type Tool } from './define-tool.ts'

const currentTime = defineTool({
  name: 'current_time',
  description: 'The current date and time, in UTC or in a time zone of the IANA database',
  input: Type.Object({
    time_zone: Type.Optional(Type.String({ maxLength: 64, description: 'For example Europe/Vienna' }))
  }),
  execute: ({ time_zone: timeZone }) => {
    const now = new Date()
    const local = new Intl.DateTimeFormat('en', { dateStyle: 'full', timeStyle: 'long', timeZone: knownZone(timeZone) })
    return { utc: now.toISOString(), local: local.format(now) }
  }
})

/** Tools that every agent may use by name. */
export const builtinTools: readonly Tool[] = [currentTime]

function knownZone (timeZone = 'UTC'): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone
  } catch {
    return 'UTC' // not a zone of the database: UTC is right everywhere
  }
}
