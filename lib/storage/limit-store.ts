import { sql } from 'kysely'
import type { LimitStore } from '../stores/limit-store.ts'
import type { UnitsOfWork } from './unit-of-work.ts'

/** Message windows that all nodes share; see `threadline.admit_messages`. */
export function createLimitStore (units: UnitsOfWork): LimitStore {
  return {
    async admit (frames, { limit, windowMs }) {
      if (frames.length === 0) return []
      const users = frames.map(({ userId }) => userId)
      const counts = frames.map(({ count }) => count)
      const [row] = await units.asSystem(async (unit) => await unit.lastRows(sql<{ admitted: readonly boolean[] }>`
        select threadline.admit_messages(${users}::text[], ${counts}::integer[], ${limit}::integer, ${windowMs}::integer) as admitted`))
      return row?.admitted ?? frames.map(() => false)
    }
  }
}
