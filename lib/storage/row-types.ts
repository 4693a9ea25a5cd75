import pg from 'pg'

const { builtins, getTypeParser } = pg.types

/**
 * How values of rows arrive: 64-bit integers as numbers (all of ours are counters), points in time as ISO 8601 in UTC with
 * milliseconds, as the protocol has them. Everything else as `pg` reads it.
 */
export const rowTypes: pg.CustomTypesConfig = {
  getTypeParser (type: number) {
    if (type === builtins.INT8) return Number
    if (type === builtins.TIMESTAMPTZ) return isoTimestamp
    return getTypeParser(type)
  }
}

function isoTimestamp (text: string): string {
  return new Date(text).toISOString()
}
