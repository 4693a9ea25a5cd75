import { readdirSync, readFileSync } from 'node:fs'

/** CPU that was used, user and system together, in µs. */
export interface CpuTime {
  /** Of this process, with all its threads. */
  readonly process: number
  /** Of this process and those that it has started; undefined where the system does not tell (it is read from Linux' `/proc`). */
  readonly withChildren: number | undefined
}

/** Of `/proc/<pid>/stat`, in µs: `USER_HZ` is 100 on every architecture that Node runs on. */
const tick = 10_000

export function readCpuTime (): CpuTime {
  const { user, system } = process.cpuUsage()
  const children = readChildren()
  return { process: user + system, withChildren: children === undefined ? undefined : user + system + children }
}

function readChildren (): number | undefined {
  try {
    const lists = readdirSync('/proc/self/task').map((thread) => readFileSync(`/proc/self/task/${thread}/children`, 'utf8'))
    return lists.flatMap((list) => list.split(' ').filter((pid) => pid !== '')).reduce((sum, pid) => sum + readTicks(pid) * tick, 0)
  } catch {
    return undefined // another system than Linux, or one without this file
  }
}

// proc(5): utime and stime are fields 14 and 15. The second, the name, may have blanks in it, and ends with the last bracket.
function readTicks (pid: string): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}
