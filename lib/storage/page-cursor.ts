import type { Static, TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { ThreadlineError } from '../errors.ts'

/** What the pages of one kind continue from. The name changes with the meaning of the position. */
export interface CursorKind<Position extends TSchema> {
  readonly name: string
  readonly position: Position
}

/**
 * Where the next page begins, as text that clients hand back. It is data and gives no rights: a forged one names a place in what the
 * user may see anyway.
 */
export function toCursor<Position extends TSchema> ({ name }: CursorKind<Position>, position: Static<Position>): string {
  return Buffer.from(JSON.stringify([name, position])).toString('base64url')
}

/** Throws `THREADLINE_BAD_REQUEST` for what is no cursor of this kind. */
export function fromCursor<Position extends TSchema> ({ name, position }: CursorKind<Position>, cursor: string): Static<Position> {
  const [actual, value] = parse(cursor)
  if (actual !== name || !Value.Check(position, value)) throw malformed()
  return value
}

function parse (cursor: string): readonly unknown[] {
  const bytes = Buffer.from(cursor, 'base64url')
  // The decoder passes over what does not belong in it; only what `toCursor` writes is a cursor.
  if (bytes.toString('base64url') !== cursor) throw malformed()
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return Array.isArray(value) ? value : []
  } catch (cause) {
    throw malformed(cause)
  }
}

function malformed (cause?: unknown): ThreadlineError {
  return new ThreadlineError('THREADLINE_BAD_REQUEST', 'The cursor is not valid', { field: 'cursor', cause })
}
