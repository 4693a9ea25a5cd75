/** The rules, each told in `docs/rules/` with an example and a fix. Contract: a number is never given to another rule. */
export const ruleIds = [
  'CTX001', 'CTX002', 'CTX003', 'CTX004', 'CTX005', 'CTX006', 'CTX007', 'CTX008', 'CTX009', 'CTX010'
] as const
export type RuleId = typeof ruleIds[number]

export const ruleTitles: Readonly<Record<RuleId, string>> = {
  CTX001: 'hop missing',
  CTX002: 'identity missing on a span',
  CTX003: 'thread changed',
  CTX004: 'user changed',
  CTX005: 'run changed',
  CTX006: 'orphan span',
  CTX007: 'event delivered to a connection of another thread or user',
  CTX008: 'run without exactly one terminal event',
  CTX009: 'baggage sent to a foreign host',
  CTX010: 'two users in one trace'
}
