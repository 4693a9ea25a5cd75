import type { SayOptions, StageUser } from '../stage-user.ts'

/** What was refused of something that a user does: a sentence, or none when it was done. */
export async function attempt (what: string, work: () => Promise<unknown>): Promise<readonly string[]> {
  try {
    await work()
    return []
  } catch (error) {
    return [`${what}: ${error instanceof Error ? error.message : String(error)}`]
  }
}

/** A message of a user with all that a run can end with: a sentence unless it completed. */
export async function attemptRun (user: StageUser, content: string, options: SayOptions): Promise<readonly string[]> {
  return await attempt(`a message of ${user.userId}`, async () => {
    const { payload } = await user.say(content, options)
    if (payload.status !== 'completed') throw new Error(`its run ${payload.status}, ${payload.error?.code ?? payload.reason ?? 'without a reason'}`)
  })
}
