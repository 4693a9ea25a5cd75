import type { Handler } from './handler.ts'

/** Tells the connection what the thread has told since a position, and puts it into the thread, where live events follow. */
export const resume: Handler<'resume'> = async ({ payload }, connection) => {
  await connection.resume({ after: payload.after, epoch: payload.epoch })
}
