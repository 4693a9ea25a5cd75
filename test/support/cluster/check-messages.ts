import type { HistoryViolation, ViolationKind } from './check-history.ts'
import type { ClientRecord, SentMessage, ThreadRecord } from './history.ts'

/** What is wrong with the messages of a thread, compared with what its clients have sent and were answered. */
export function checkMessages (thread: ThreadRecord, clients: readonly ClientRecord[]): readonly HistoryViolation[] {
  const sent = clients.flatMap((client) => client.sent)
  return [...sent.flatMap((message) => checkSent(message, thread)), ...checkKept(thread, sent)]
}

/** One answer or several, they say the same, and what they name is there. */
function checkSent ({ id, content, answers }: SentMessage, { threadId, messages, runs }: ThreadRecord): readonly HistoryViolation[] {
  const [first] = answers
  if (first === undefined) return []
  const violations: HistoryViolation[] = []
  const add = (kind: ViolationKind, text: string): void => { violations.push({ kind, text: `${id} in ${threadId} ${text}` }) }
  for (const { messageId, runId } of answers.slice(1)) {
    if (messageId !== first.messageId || runId !== first.runId) add('accepted-differently', `was accepted as ${first.messageId} and as ${messageId}`)
  }
  if (answers.filter(({ duplicate }) => !duplicate).length > 1) add('accepted-differently', 'was accepted for the first time more than once')
  const kept = messages.find(({ message_id: messageId }) => messageId === first.messageId)
  if (kept === undefined) add('lost-message', `was accepted as ${first.messageId}, which there is not`)
  else if (kept.content !== content) add('crossed', `was ${JSON.stringify(content)} and is ${JSON.stringify(kept.content)}`)
  if (!runs.some(({ runId, messageId }) => runId === first.runId && messageId === first.messageId)) add('lost-message', `has no run ${first.runId}`)
  return violations
}

/** Each message of a user is one that was sent, is there once, and has one run. */
function checkKept ({ threadId, messages, runs }: ThreadRecord, sent: readonly SentMessage[]): readonly HistoryViolation[] {
  const known = new Map(sent.map((message) => [message.content, message] as const))
  const seen = new Set<string>()
  return messages.filter(({ role }) => role === 'user').flatMap(({ content, message_id: id }) => {
    const violations: HistoryViolation[] = []
    const add = (kind: ViolationKind, text: string): void => { violations.push({ kind, text: `${threadId} ${text}` }) }
    const own = runs.filter(({ messageId }) => messageId === id).length
    if (!known.has(content)) add('unknown-message', `has ${JSON.stringify(content)}, which nobody has sent`)
    if (seen.has(content)) add('doubled-message', `has ${JSON.stringify(content)} more than once`)
    if (own === 0) add('lost-message', `has no run for ${JSON.stringify(content)}`)
    if (own > 1) add('doubled-message', `has ${own} runs for ${JSON.stringify(content)}`)
    seen.add(content)
    return violations
  })
}
