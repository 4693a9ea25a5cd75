import { isRunEventType, type EventType, type MessageView, type PayloadOf, type RunView, type ThreadView } from './events.ts'
import { exampleIds as ids } from './example-ids.ts'
import type { RunIsolation } from './run-isolation.ts'

interface Guide<Name extends EventType> {
  /** When the server tells it, in a sentence. */
  readonly summary: string
  readonly example: PayloadOf<Name>
}

const at = '2026-11-22T18:00:00.000Z'
const later = '2026-11-22T18:00:02.500Z'

const thread: ThreadView = {
  thread_id: ids.thread, title: 'Otters', metadata: {}, created_at: at, updated_at: later, archived_at: null, deleted_at: null
}
const question: MessageView = {
  message_id: ids.message,
  thread_id: ids.thread,
  run_id: ids.run,
  role: 'user',
  content: 'Which otters are there?',
  metadata: {},
  parent_id: null,
  sibling_ids: [ids.message],
  created_at: at
}
const answer: MessageView = {
  ...question, message_id: ids.answer, role: 'assistant', content: 'There are thirteen species.', parent_id: ids.message, sibling_ids: [ids.answer], created_at: later
}
const messages = [question, answer]
const run: RunView = {
  run_id: ids.run, thread_id: ids.thread, message_id: ids.message, agent: 'assistant', status: 'completed', created_at: at, started_at: at, finished_at: later, error: null
}
const identity = { user_id: 'alice', thread_id: ids.thread, run_id: ids.run }
const span = { trace_id: ids.traceparent.slice(3, 35), span_id: ids.traceparent.slice(36, 52) }
const isolation: RunIsolation = {
  ...identity,
  verdict: 'incomplete',
  findings: [],
  incomplete: ['This process has seen nothing of what came before'],
  hops: [{ hop: 'handler', ...span, ...identity }],
  identities: [identity],
  deliveries: [{ connection_id: ids.connection, user_id: 'alice', thread_id: ids.thread, replayed: false, sequences: [[38, 42]], unsequenced: 1 }],
  violations: [],
  database: { role: 'threadline_app', user_id: 'alice', row_security: 'forced', bypasses_row_security: false },
  spans: [{
    ...span, parent_span_id: null, name: 'handler', kind: 'internal', started_at: 1_795_370_400_000_000, ended_at: 1_795_370_400_004_000, failed: false,
    attributes: { 'threadline.hop': 'handler', 'user.id': 'alice', 'gen_ai.conversation.id': ids.thread, 'threadline.run.id': ids.run }
  }]
}
const quiet = { sequence: 42, epoch: ids.epoch, active_runs: [] }
const working = {
  ...quiet, active_runs: [{ run_id: ids.run, message_id: ids.message, agent: 'assistant', status: 'running' as const, text: 'There are' }]
}

/** When each event is told, as the contract tells it. */
export const eventGuide: { readonly [Name in EventType]: Guide<Name> } = {
  connection_established: {
    summary: 'First of all: who the server takes the client for, its thread, and where that stands.',
    example: { connection_id: ids.connection, user_id: 'alice', thread_id: ids.thread, token_expires_at: later, ...working }
  },
  error: {
    summary: 'A command was refused, or the connection is about to be closed.',
    example: { code: 'THREADLINE_THREAD_NOT_FOUND', message: 'There is no such thread', retryable: false }
  },
  pong: { summary: 'The answer to a ping.', example: {} },
  message_accepted: {
    summary: 'The message and its run are stored; `duplicate` when they had been before.',
    example: { message_id: ids.message, run_id: ids.run, duplicate: false }
  },
  run_created: {
    summary: 'The run is stored; `duplicate` when it had been before.',
    example: { message_id: ids.message, run_id: ids.run, duplicate: false }
  },
  run_queued: { summary: 'The run has to wait; `position` is the number of runs before it.', example: { run_id: ids.run, position: 1 } },
  runs_stopping: { summary: 'Which runs were told to stop.', example: { run_ids: [ids.run] } },
  run_state: { summary: 'The run as it stands.', example: run },
  run_isolation: { summary: 'What this process saw of the run, and what a verifier says of it.', example: isolation },
  run_list: { summary: 'A page of runs, newest first.', example: { runs: [run], has_more: false } },
  resumed: { summary: 'Everything that was missed has been told; live events follow.', example: { after: 41, replayed: 1, ...quiet } },
  resync_required: {
    summary: 'What was missed cannot be told: the newest messages and the position from which live events follow instead.',
    example: { reason: 'epoch_changed', thread, messages, has_more: false, ...quiet }
  },
  thread_created: { summary: 'A thread was made; also told to the other connections of the user.', example: thread },
  thread_updated: { summary: 'A thread was changed; also told to the other connections of the user.', example: { ...thread, title: 'Otters and their kin' } },
  thread_deleted: { summary: 'A thread was deleted; also told to the other connections of the user.', example: { thread_id: ids.thread } },
  thread_state: { summary: 'The thread, its position, and its unfinished runs.', example: { thread, ...working } },
  thread_list: { summary: 'A page of threads.', example: { threads: [thread], total: 1, limit: 20, offset: 0, next_cursor: null } },
  search_results: {
    summary: 'A page of what was found, the best first.',
    example: {
      results: [{ thread, message: { message_id: ids.answer, role: 'assistant', created_at: later }, snippet: 'There are thirteen «species».' }],
      next_cursor: null
    }
  },
  thread_switched: { summary: 'The connection is in the thread.', example: { thread, messages, has_more: false, ...quiet } },
  thread_history: { summary: 'Messages of the visible branch, oldest first.', example: { messages, has_more: false } },
  branch_selected: { summary: 'The visible branch is another one; told to the other connections of the thread as well.', example: { messages, has_more: false } },
  typing: { summary: 'Somebody types, or has stopped to, in a thread of the user.', example: { is_typing: true, thread_id: ids.thread } },
  presence: { summary: 'How many connections the thread has.', example: { connections: 2 } },
  token_expiring: { summary: 'The token expires soon: it is time to `authenticate`.', example: { expires_at: later } },
  token_renewed: { summary: 'The new token was taken.', example: { expires_at: later } },

  agent_started: {
    summary: 'The turn of the run has come.',
    example: { agent: 'assistant', message_id: ids.message, input: 'Which otters are there?' }
  },
  agent_resumed: {
    summary: 'The run goes on in another process, because the one before is gone. Text that it told before is void, and told again; its tool calls stand.',
    example: { attempt: 2 }
  },
  agent_thinking: { summary: 'The agent works, and has nothing to show yet.', example: { message: 'Reading the question', step: 1 } },
  agent_delta: { summary: 'A piece of the answer.', example: { text: 'There are', step: 1 } },
  tool_executing: {
    summary: 'A tool was called. Secrets among its parameters are redacted.',
    example: { tool_call_id: 'call-1', tool: 'search', parameters: { query: 'otters', api_key: '[redacted]' } }
  },
  tool_completed: {
    summary: 'The tool has ended: exactly one for each `tool_executing`.',
    example: { tool_call_id: 'call-1', tool: 'search', success: true, duration_ms: 12, result: { found: 13 } }
  },
  agent_completed: {
    summary: 'The end of the run: exactly one for each.',
    example: { status: 'completed', message_id: ids.answer, content: 'There are thirteen species.', usage: { input_tokens: 12, output_tokens: 9 } }
  }
}

/** The example as it goes over the wire. */
export function eventExample (type: EventType): Record<string, unknown> {
  const place = { sequence: 42, epoch: ids.epoch, run_id: ids.run, agent_name: 'assistant' }
  return {
    type,
    event_id: ids.event,
    ...(isRunEventType(type) ? place : {}),
    timestamp: later,
    user_id: 'alice',
    thread_id: ids.thread,
    request_id: ids.request,
    payload: eventGuide[type].example,
    traceparent: ids.traceparent
  }
}
