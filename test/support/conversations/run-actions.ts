import fc from 'fast-check'
import type { TestServer } from '../start-server.ts'
import { within } from '../within.ts'
import { userCount, type Action } from './actions.ts'
import { checkConversations } from './check-conversations.ts'
import { Conversations, usersOf } from './conversations.ts'
import { createModel, type Model } from './model.ts'
import { isPossible, performAction } from './perform-action.ts'
import type { PlannedAgent } from './planned-agent.ts'

/** An action as a command of fast-check. Its text is the action itself. */
export class ActionCommand implements fc.AsyncCommand<Model, Conversations> {
  readonly action: Action

  constructor (action: Action) {
    this.action = action
  }

  check (model: Readonly<Model>): boolean { return isPossible(this.action, model) }

  async run (_model: Model, conversations: Conversations): Promise<void> {
    await within(JSON.stringify(this.action), performAction(this.action, conversations))
    throwFaults(conversations.faults)
  }

  toString (): string { return JSON.stringify(this.action) }
}

export type Command = fc.AsyncCommand<Model, Conversations, boolean>

/** What each user has done before: with nobody there and no thread, most actions are not possible. */
const prelude: readonly Action[] = Array.from({ length: userCount }, (_, user): readonly Action[] => [
  { do: 'connect', user, tab: 0, thread: null, from: null }, { do: 'create', user, tab: 0 }, { do: 'switch', user, tab: 0, thread: 0, wait: true }
]).flat()

let scopes = 0

/**
 * Lets new users do all that, in this order, and checks everything when they have done it. Throws what is wrong; the server is idle
 * again in any case.
 */
export async function runActions (commands: Iterable<Command>, server: TestServer, agent: PlannedAgent): Promise<void> {
  scopes += 1
  const model = createModel(`p${scopes}`)
  const conversations = new Conversations(server, agent, model)
  try {
    for (const action of prelude) await new ActionCommand(action).run(model, conversations)
    await fc.asyncModelRun(() => ({ model, real: conversations }), commands)
    throwFaults(await checkConversations(conversations))
  } finally {
    for (const { user } of usersOf(conversations)) for (const message of user.messages) conversations.open(user, message)
    await Promise.all(conversations.tabs.flat().map((tab) => tab.disconnect(false)))
    await conversations.idle()
  }
}

function throwFaults (faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(faults.slice(0, 10).join('\n'))
}
