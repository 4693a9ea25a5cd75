import type { Erased } from '../stores/account-store.ts'
import type { HandlerTools } from './handler.ts'

/** How long the stopped runs may take to tell their end before everything is erased all the same. */
const endingMs = 2_000

/** Stops the active user's runs, and removes all that is kept of the user, at once and for good. */
export async function eraseUser ({ engine, storage }: HandlerTools): Promise<Erased> {
  await engine.stopUser(endingMs)
  return await storage.account.erase()
}
