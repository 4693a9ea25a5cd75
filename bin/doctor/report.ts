import type { Finding, Outcome } from './finding.ts'

const signs: Readonly<Record<Outcome, string>> = { ok: '✓', warning: '▲', failed: '✗' }

/** 0: nothing is wrong; 1: something is. */
export function exitCodeOf (findings: readonly Finding[]): 0 | 1 {
  return findings.some(({ outcome }) => outcome === 'failed') ? 1 : 0
}

export function toText (findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.map(({ check, outcome, message, advice }) => {
    const line = `${signs[outcome]} ${check.padEnd(width)}  ${message}\n`
    return advice === undefined ? line : `${line}  ${' '.repeat(width)}  → ${advice}\n`
  })
  const count = (wanted: Outcome): number => findings.filter(({ outcome }) => outcome === wanted).length
  return `${lines.join('')}\n${count('failed')} failed, ${count('warning')} to look at, ${count('ok')} in order\n`
}

export function toJson (findings: readonly Finding[]): string {
  return `${JSON.stringify({ version: 1, exitCode: exitCodeOf(findings), findings }, undefined, 2)}\n`
}
