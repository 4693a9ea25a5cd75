/**
 * Names of span attributes, baggage entries and log fields: every name of a semantic convention lives here, because the
 * GenAI conventions are still in development.
 * Sources: OpenTelemetry semantic conventions 1.45 (`user.id`, `error.type`), GenAI conventions (`gen_ai.*`), ours (`threadline.*`).
 */
export const attributes = {
  hop: 'threadline.hop',
  userId: 'user.id',
  threadId: 'gen_ai.conversation.id',
  runId: 'threadline.run.id',
  requestId: 'threadline.request.id',
  connectionId: 'threadline.connection.id',
  recipientUserId: 'threadline.recipient.user.id',
  recipientThreadId: 'threadline.recipient.thread.id',
  baggageSent: 'threadline.baggage.sent',
  command: 'threadline.command',
  eventType: 'threadline.event.type',
  eventId: 'threadline.event.id',
  sequence: 'threadline.event.sequence',
  runStatus: 'threadline.run.status',
  runAttempt: 'threadline.run.attempt',
  violation: 'threadline.violation',
  canaryPlace: 'threadline.canary.where',
  errorType: 'error.type',
  operation: 'gen_ai.operation.name',
  provider: 'gen_ai.provider.name',
  agentName: 'gen_ai.agent.name',
  requestModel: 'gen_ai.request.model',
  responseModel: 'gen_ai.response.model',
  finishReasons: 'gen_ai.response.finish_reasons',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  tokenType: 'gen_ai.token.type',
  toolName: 'gen_ai.tool.name',
  toolCallId: 'gen_ai.tool.call.id',
  toolType: 'gen_ai.tool.type'
} as const
