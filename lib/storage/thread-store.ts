import { sql } from 'kysely'
import { currentIdentity } from '../context/current-thread.ts'
import type { ThreadStore } from '../stores/thread-store.ts'
import { forkThread } from './fork-thread.ts'
import { anyOwnThread, ownThread, updateAnyOwnThread, updateOwnThread } from './own-thread.ts'
import { removeThread } from './remove-thread.ts'
import { storableText } from './storable-text.ts'
import { query } from './tables.ts'
import { listThreads } from './thread-list.ts'
import { searchThreads } from './thread-search.ts'
import { readThreadState } from './thread-state.ts'
import { onlyRow, toThreadView, viewed } from './thread-view.ts'
import type { UnitsOfWork } from './unit-of-work.ts'

const now = sql<string>`now()`

/** The threads of the active user. */
export function createThreadStore (units: UnitsOfWork): ThreadStore {
  return {
    create: async (threadId, { title, metadata } = {}) => await units.asUser(async (unit) => {
      const values = {
        thread_id: threadId,
        user_id: currentIdentity().userId,
        title: storableText(title ?? null, 'title'),
        ...(metadata === undefined ? {} : { metadata })
      }
      return toThreadView(onlyRow(await unit.lastRows(query.insertInto('threads').values(values).returning(viewed))))
    }),

    require: async (threadId, { deleted = false } = {}) => await units.asUser(async (unit) => {
      const thread = deleted ? anyOwnThread(threadId) : ownThread(threadId)
      return toThreadView(onlyRow(await unit.lastRows(thread.select(viewed))))
    }),

    state: async (threadId) => await units.asUser(async (unit) => await readThreadState(unit, threadId)),

    update: async (threadId, { title, metadata }) => await units.asUser(async (unit) => {
      if (title === undefined && metadata === undefined) return toThreadView(onlyRow(await unit.lastRows(ownThread(threadId).select(viewed))))
      const changes = {
        updated_at: now,
        ...(title === undefined ? {} : { title: storableText(title, 'title') }),
        ...(metadata === undefined ? {} : { metadata })
      }
      return toThreadView(onlyRow(await unit.lastRows(updateOwnThread(threadId).set(changes).returning(viewed))))
    }),

    // The order of the list stays: nobody has written anything.
    suggestTitle: async (threadId, title) => await units.asUser(async (unit) => {
      const untitled = updateOwnThread(threadId).where('title', 'is', null)
      const [row] = await unit.lastRows(untitled.set({ title: storableText(title, 'title') }).returning(viewed))
      return row === undefined ? undefined : toThreadView(row)
    }),

    archive: async (threadId) => await units.asUser(async (unit) => {
      const changes = { archived_at: sql<string>`coalesce(archived_at, now())` }
      return toThreadView(onlyRow(await unit.lastRows(updateOwnThread(threadId).set(changes).returning(viewed))))
    }),

    remove: async (threadId) => { await units.asUser(async (unit) => { await removeThread(unit, threadId) }) },

    purge: async (threadId) => {
      await units.asUser(async (unit) => await unit.lastRows(sql`
        select threadline.purge_thread(${currentIdentity().userId}, ${threadId}, 'infinity', ${sql.lit(Number.MAX_SAFE_INTEGER)})`))
    },

    restore: async (threadId) => await units.asUser(async (unit) => {
      const changes = { archived_at: null, deleted_at: null }
      return toThreadView(onlyRow(await unit.lastRows(updateAnyOwnThread(threadId).set(changes).returning(viewed))))
    }),

    list: async (page) => await units.asUser(async (unit) => await listThreads(unit, page)),

    search: async (text, page) => await units.asUser(async (unit) => await searchThreads(unit, text, page)),

    fork: async (source, target, options) => await units.asUser(async (unit) => await forkThread(unit, source, target, options))
  }
}
