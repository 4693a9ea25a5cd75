import { fileURLToPath } from 'node:url'
import { namedBy, type Fault, type Observation } from './fault.ts'
import { runKilled, runProgram, type EndedProgram } from './kill.ts'

/** A fault as its users and the witnesses saw it, in a process of its own; or why nothing was seen. */
export interface Seen extends Partial<Omit<Observation, 'fault'>> { readonly error?: string }

export interface FaultRow {
  readonly fault: Fault
  /** With all protections. */
  readonly whole: Seen
  /** Without the one line that protects from it. */
  readonly killed: Seen
  /** What is not as it should be, a sentence each. */
  readonly problems: readonly string[]
}

/** Two processes, each with a server and its database, are enough for a small machine. */
const lanes = 2
const timeLimitMs = 300_000
const program = fileURLToPath(new URL('./fault-program.ts', import.meta.url))

/**
 * Runs each fault without and with its kill, each in a process of its own. `told` is called with each row as it comes; the rows are in the
 * order of the faults.
 */
export async function observeFaults (faults: readonly Fault[], told: (row: FaultRow) => void = () => undefined): Promise<readonly FaultRow[]> {
  const rows: FaultRow[] = []
  const waiting = [...faults.entries()]
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, fault] = next
      const row = await observeBoth(fault)
      rows[index] = row
      told(row)
    }
  }
  await Promise.all(Array.from({ length: lanes }, work))
  return rows
}

async function observeBoth (fault: Fault): Promise<FaultRow> {
  const args = [program, fault.name]
  const whole = await see(() => runProgram(args, { timeLimitMs }))
  const killed = await see(() => runKilled(fault.kill, args, { timeLimitMs }))
  return { fault, whole, killed, problems: [...judgeWhole(whole), ...judgeKilled(fault, killed)] }
}

async function see (run: () => Promise<EndedProgram>): Promise<Seen> {
  try {
    const { exitCode, output } = await run()
    if (exitCode !== 0) return { error: output.trim() === '' ? `ended with ${exitCode}` : output.trim() }
    return JSON.parse(output.trim().split('\n').at(-1) ?? '') as Seen // what the program prints last
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** Nothing wrong is delivered, and what the witnesses saw was refused. */
function judgeWhole ({ error, delivered = [], refused = [], violations = [], findings = [] }: Seen): readonly string[] {
  if (error !== undefined) return [`could not be produced: ${error}`]
  const isRefused = refused.length > 0 || violations.some(({ witness }) => witness === 'guard')
  const isSilent = violations.length === 0 && findings.length === 0
  return [
    ...delivered.map((sentence) => `with all protections, ${sentence}`),
    ...(isRefused || isSilent ? [] : ['with all protections, a witness saw something that was not refused'])
  ]
}

function judgeKilled (fault: Fault, { error, violations = [], findings = [] }: Seen): readonly string[] {
  if (error !== undefined) return [`could not be produced without ${fault.kill.what}: ${error}`]
  const { guard, verifier } = namedBy(fault, { violations, findings })
  return guard || verifier ? [] : [`without ${fault.kill.what}, no witness named ${fault.hop}`]
}

/** What a row says in a table: a line with the protection, and one without it. */
export function toCells ({ fault, whole, killed, problems }: FaultRow): readonly Readonly<Record<string, string>>[] {
  const named = namedBy(fault, { violations: killed.violations ?? [], findings: killed.findings ?? [] })
  const hop = `${fault.hop} by ${[named.guard ? 'guard' : '', named.verifier ? 'verifier' : ''].filter(Boolean).join(', ') || 'NOBODY'}`
  return [
    { fault: fault.name, protection: 'there', ...cellsOf(whole), 'hop named': '', 'as it should be': '' },
    { fault: '', protection: 'gone', ...cellsOf(killed), 'hop named': hop, 'as it should be': problems.length === 0 ? 'yes' : 'NO' }
  ]
}

function cellsOf ({ error, delivered = [], refused = [], violations = [], findings = [] }: Seen): Readonly<Record<string, string>> {
  return error !== undefined
    ? { 'delivered wrong': 'ERROR', refused: '', guard: '', verifier: '' }
    : {
        'delivered wrong': delivered.length === 0 ? 'nothing' : `${delivered.length}`,
        refused: refused.length > 0 || violations.some(({ witness }) => witness === 'guard') ? 'yes' : 'no',
        guard: violations.length === 0 ? 'silent' : `${violations.length} at ${namesOf(violations.map(({ hop, place }) => hop ?? place))}`,
        verifier: findings.length === 0 ? 'silent' : namesOf(findings.map(({ rule }) => rule))
      }
}

function namesOf (names: readonly string[]): string {
  return [...new Set(names)].join(', ')
}
