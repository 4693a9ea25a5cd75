import type { Logger } from '../../lib/context/logger.ts'

export interface KeptLine { readonly level: 'info' | 'warn' | 'error', readonly fields: Readonly<Record<string, unknown>>, readonly message: string }

/** A logger that writes nothing, and keeps what it was told. */
export function createSilentLogger (): Logger & { readonly lines: readonly KeptLine[] } {
  const lines: KeptLine[] = []
  const keep = (level: KeptLine['level']) => (fields: object, message: string): void => { lines.push({ level, fields: { ...fields }, message }) }
  return { lines, info: keep('info'), warn: keep('warn'), error: keep('error') }
}
