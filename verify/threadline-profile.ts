import type { Profile } from './profile.ts'

/** Threadline's own spans. `ARCHITECTURE.md` tells the way of a message, hop by hop. */
export const threadlineProfile: Profile = {
  hops: [
    { name: 'http.request', after: [], carries: [] },
    { name: 'socket.receive', after: [], leadsTo: ['handler'], carries: ['user'] },
    { name: 'handler', after: ['socket.receive', 'http.request'], carries: ['user'] },
    { name: 'registry', after: ['handler'], leadsTo: ['engine'], carries: ['user', 'thread', 'run'] },
    { name: 'engine', after: ['registry'], carries: ['user', 'thread', 'run'] },
    { name: 'tool', after: ['engine'], carries: ['user', 'thread', 'run'] },
    // A run that is stopped before its turn tells its end without an engine.
    { name: 'emitter', after: ['engine', 'handler'], carries: ['user', 'thread', 'run'] },
    // Whether somebody listens is not known: a run goes on without its socket.
    { name: 'socket.send', after: ['emitter', 'handler', 'socket.receive', 'http.request'], carries: ['user'], delivers: true }
  ],
  attributes: {
    hop: 'threadline.hop',
    user: 'user.id',
    thread: 'gen_ai.conversation.id',
    run: 'threadline.run.id',
    request: 'threadline.request.id',
    connection: 'threadline.connection.id',
    recipientUser: 'threadline.recipient.user.id',
    recipientThread: 'threadline.recipient.thread.id',
    eventType: 'threadline.event.type',
    sequence: 'threadline.event.sequence',
    baggageSent: 'threadline.baggage.sent',
    host: 'server.address',
    port: 'server.port',
    errorType: 'error.type',
    violation: 'threadline.violation'
  },
  implied: [{ kind: 'server', hop: 'http.request' }],
  apart: ['socket.handshake'],
  // The engine's own call of a model. What instrumentations of others say of theirs, below a tool or below this one, is theirs.
  carriers: [{ kind: 'client', name: 'chat', below: 'engine' }],
  // With a deleted thread its runs are ended in the same transaction; what they tell after that is refused.
  terminal: { hop: 'emitter', eventType: 'agent_completed', excusedBy: ['THREADLINE_THREAD_NOT_FOUND', 'THREADLINE_CONFLICT'] },
  baggageHosts: []
}
