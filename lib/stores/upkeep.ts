export interface Purged { readonly threads: number, readonly events: number }

/** Housekeeping over all users, outside of any identity: each thread is worked on in the name of its own user. */
export interface Upkeep {
  /**
   * Removes threads that were deleted before a time, with everything in them, and events stored before a time of threads in which
   * nothing is unfinished; at most `limit` threads of each, the oldest first. Expired tickets go as well. Aborting ends it behind the
   * transaction that it is at; what was done stays done.
   */
  purge (what: { deletedBefore: Date, eventsBefore?: Date | undefined, limit: number, signal?: AbortSignal | undefined }): Promise<Purged>
}
