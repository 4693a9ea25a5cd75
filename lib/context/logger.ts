/**
 * What `lib/` needs of a logger: pino's three levels that it uses. The ids of the active identity are added by the logger
 * itself (its `mixin`), so no call passes them.
 */
export interface Logger {
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}
