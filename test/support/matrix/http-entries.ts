import type { Ids } from './ids.ts'

export interface HttpInput {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface HttpEntry {
  /** The ways in which the operation is called, each made of somebody's ids. */
  readonly inputs: readonly ((ids: Ids) => HttpInput)[]
  /** It asks for a WebSocket. */
  readonly upgrade?: true
  /** Whoever calls it is gone. */
  readonly erases?: true
}

const nothing = (): HttpInput => ({})
const inThread = ({ thread }: Ids): HttpInput => ({ params: { thread_id: thread } })
const send = (ids: Ids): HttpInput => ({ ...inThread(ids), body: { content: 'hello' } })
const ofRun = ({ run }: Ids): HttpInput => ({ params: { run_id: run } })

/** Which operations are for everybody, and why. */
export const publicOperations: Readonly<Record<string, string>> = {
  getLiveness: 'probes have no token, and are told nothing of anybody',
  getReadiness: 'probes have no token, and are told nothing of anybody',
  getOpenApi: 'the contract is the same for everybody',
  getAsyncApi: 'the contract is the same for everybody',
  createDevelopmentToken: 'it is how one gets a token, where there is no other way; it does not exist elsewhere'
}

/** How each operation is called; by its `operationId`. */
export const httpEntries: Readonly<Record<string, HttpEntry>> = {
  getMe: { inputs: [nothing] },
  eraseMe: { inputs: [nothing], erases: true },
  createTicket: { inputs: [nothing] },
  listAgents: { inputs: [nothing] },
  createThread: { inputs: [() => ({ body: { title: 'New' } })] },
  listThreads: { inputs: [({ threadCursor }) => ({ query: { cursor: threadCursor } }), () => ({ query: { state: 'deleted' } })] },
  searchThreads: {
    inputs: [({ word }) => ({ query: { query: word } }), ({ word, searchCursor }) => ({ query: { query: word, cursor: searchCursor } })]
  },
  getThread: { inputs: [inThread] },
  updateThread: { inputs: [(ids) => ({ ...inThread(ids), body: { title: 'Changed', metadata: {} } })] },
  deleteThread: { inputs: [inThread] },
  archiveThread: { inputs: [inThread] },
  restoreThread: { inputs: [inThread] },
  forkThread: { inputs: [(ids) => ({ ...inThread(ids), body: { message_id: ids.message } }), inThread] },
  listMessages: { inputs: [(ids) => ({ ...inThread(ids), query: { before: ids.beforeMessage } }), inThread] },
  selectBranch: { inputs: [(ids) => ({ ...inThread(ids), body: { message_id: ids.message } })] },
  listRuns: { inputs: [(ids) => ({ ...inThread(ids), query: { before: ids.beforeRun } }), inThread] },
  createRun: { inputs: [(ids) => ({ ...inThread(ids), body: { content: 'once more', edit_of: ids.message } }), send] },
  regenerate: { inputs: [(ids) => ({ ...inThread(ids), body: { message_id: ids.answer } }), inThread] },
  cancelRuns: { inputs: [inThread] },
  getRun: { inputs: [ofRun] },
  getRunIsolation: { inputs: [ofRun] },
  cancelRun: { inputs: [ofRun] },
  exportThread: { inputs: [inThread, (ids) => ({ ...inThread(ids), query: { format: 'markdown' } })] },
  followThread: {
    inputs: [inThread, (ids) => ({ ...inThread(ids), headers: { 'last-event-id': 'another-database:1' } })]
  },
  streamRun: { inputs: [(ids) => ({ ...inThread(ids), body: { content: 'once more', edit_of: ids.message } }), send] },
  openSocket: {
    inputs: [
      ({ thread }) => ({ query: { thread_id: thread } }), ({ thread }) => ({ query: { thread_id: thread, after: '1', epoch: 'another-database' } })
    ],
    upgrade: true
  }
}
